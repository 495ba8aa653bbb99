"""Tokens of service accounts that live in Secrets, as credentials: good while the Secret is there.

That a token was used is written into a label of its Secret, once a day, so that unused ones can be found.

Upstream counterpart: pkg/serviceaccount/legacy.go (v1.37).
"""

import asyncio
import base64
import hmac
from collections.abc import Callable
from typing import Any

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.authn import claims as tokenclaims
from knarr.apiserver.authn import jwt
from knarr.apiserver.authn.authenticator import Identified
from knarr.apiserver.authn.errors import InvalidToken
from knarr.apiserver.authn.tokens import LEGACY_CLAIMS, LEGACY_ISSUER, Issuer
from knarr.apiserver.registry import Registry
from knarr.kit import clock as clocks

LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"

Object = dict[str, Any]
Key = tuple[str, str]


class LegacyTokens:
    """Tokens in Secrets.

    Args:
        issuer: Signed them.
        registry: Has the Secrets and accounts.
        clock: Tells the day.
    """

    def __init__(self, issuer: Issuer, registry: Registry, clock: clocks.Clock) -> None:
        self._issuer = issuer
        self._registry = registry
        self._clock = clock
        self._used: set[Key] = set()
        self._changed = asyncio.Event()

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return the account, or None if the token is of another kind.

        Raises:
            InvalidToken: Forged, or its Secret or account is gone or has changed.
        """
        unverified = jwt.read(token)
        if unverified is None or unverified.get("iss") != LEGACY_ISSUER:
            return None
        common = tuple(one for one in audiences if one in self._issuer.audiences)
        if not common:
            raise InvalidToken(f"token audiences {list(self._issuer.audiences)!r} is invalid for the target audiences")
        claims = jwt.verify(token, self._issuer.keys)
        namespace, secret_name, account, uid = (str(claims.get(name) or "") for name in LEGACY_CLAIMS)
        if not (namespace and secret_name and account and uid):
            raise InvalidToken("service account token lacks its private claims")
        secret = self._registry.get("secrets", namespace, secret_name)
        if secret is None or secret["metadata"].get("deletionTimestamp"):
            raise InvalidToken("service account token has been invalidated")
        if not hmac.compare_digest(_data(secret, "token"), token.encode("utf-8", "surrogateescape")):
            raise InvalidToken("service account token does not match server's copy")
        labels = secret["metadata"].get("labels") or {}
        if labels.get(INVALID_SINCE):
            raise InvalidToken("the token has been invalidated")
        found = self._registry.get("serviceaccounts", namespace, account)
        if found is None or found["metadata"].get("deletionTimestamp"):
            raise InvalidToken("service account has been deleted")
        if found["metadata"].get("uid") != uid:
            raise InvalidToken(f"service account UID ({found['metadata'].get('uid')}) does not match claim ({uid})")
        if labels.get(LAST_USED) != self._today():
            self._used.add((namespace, secret_name))
            self._changed.set()
        return Identified(User(tokenclaims.user_name(namespace, account), tokenclaims.groups(namespace), uid), common)

    async def note_uses(self) -> None:
        """Write the day of use into the Secrets of used tokens."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            used, self._used = self._used, set()
            for key in used:
                await change(self._registry, key, self._label)

    def _label(self, secret: Object) -> bool:
        labels = secret["metadata"].setdefault("labels", {})
        if labels.get(LAST_USED) == self._today():
            return False
        labels[LAST_USED] = self._today()
        return True

    def _today(self) -> str:
        return self._clock.now().strftime("%Y-%m-%d")


async def change(registry: Registry, key: Key, make: Callable[[Object], bool]) -> None:
    """Change a Secret in place, again while others are faster; `make` says whether it did."""
    while (secret := registry.get("secrets", *key)) is not None and make(secret):
        try:
            await registry.update("secrets", secret)
        except errors.Conflict:
            continue
        except errors.NotFound:
            return
        return


def _data(secret: Object, key: str) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "")
    except ValueError:
        return b""
