"""Answers about tokens that are remembered for a while, for kinds of tokens that are dear to check.

Upstream counterpart: k8s.io/apiserver/pkg/authentication/token/cache (v1.37).
"""

import asyncio
import hashlib
from collections import OrderedDict

from knarr.apiserver.authn.authenticator import Identified, RemoteTokenMethod
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit import clock as clocks

KEPT = 4096
_Answer = Identified | InvalidToken | None


class Remembered:
    """A kind of tokens with a memory; requests that come with the same token at the same time are asked for once.

    Args:
        method: Is asked.
        clock: The time.
        good_s: How long a good answer holds.
        bad_s: How long a bad one does; failures to ask are not remembered.
    """

    def __init__(self, method: RemoteTokenMethod, clock: clocks.Clock, *, good_s: float, bad_s: float) -> None:
        self._method = method
        self._clock = clock
        self._good_s, self._bad_s = good_s, bad_s
        self._known: OrderedDict[bytes, tuple[float, Identified | None]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Future[_Answer]] = {}

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return whom a token names, or None if it is of another kind.

        Raises:
            InvalidToken: It is of this kind, and wrong, or nobody can tell.
        """
        text = "\0".join((token, *audiences)).encode("utf-8", "surrogateescape")
        key = hashlib.sha256(text).digest()
        known = self._known.get(key)
        if known is not None and known[0] > self._clock.monotonic_s():
            return known[1]
        asking = self._asking.get(key)
        if asking is None:
            asking = self._asking[key] = asyncio.ensure_future(self._ask(key, token, audiences))
            asking.add_done_callback(lambda _: self._asking.pop(key, None))
        answer = await asyncio.shield(asking)
        if isinstance(answer, InvalidToken):
            raise answer
        return answer

    async def _ask(self, key: bytes, token: str, audiences: tuple[str, ...]) -> _Answer:
        try:
            found = await self._method.authenticate(token, audiences)
        except InvalidToken as err:
            return err
        kept_s = self._good_s if found is not None else self._bad_s
        self._known[key] = (self._clock.monotonic_s() + kept_s, found)
        self._known.move_to_end(key)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return found
