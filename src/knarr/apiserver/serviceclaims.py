"""Addresses and node ports of Services where servers share a store: what one of them is about to write no other gives away.

The pool of a server knows what is committed. What is under way at any server stands in one key of the store, written by
compare-and-swap before the Service is and cleared after it; a server that dies in between leaves claims that end by themselves.

Counterpart: pkg/registry/core/service/{ipallocator,portallocator} (v1.37), whose bitmaps and IPAddress objects stand in etcd for good.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from copy import deepcopy
from typing import Any

import msgspec

from knarr.api import codec, errors
from knarr.apiserver.parts import Parts
from knarr.apiserver.serviceips import ips_of, ports_of
from knarr.store import backend as backends
from knarr.store import errors as store_errors

KEY = b"/registry/ranges/serviceclaims"
CLAIM_S = 60
"""Longer than any write takes; also what the clocks of two servers may differ by."""
ATTEMPTS = 20

Object = dict[str, Any]

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def open_claim(parts: Parts, service: Object, old: Object | None) -> AsyncIterator[None]:
    """Take the addresses and ports that a Service names or needs, from all servers, until the block is left.

    Args:
        parts: This server's.
        service: The Service; what is chosen is written into it.
        old: What is stored.

    Raises:
        Invalid: an address or port is taken or out of range.
        InternalError: a range is full.
        ServerTimeout: the servers get in each other's way.
    """
    give_back, mine = await _claim(parts, service, old)
    try:
        yield
    finally:
        give_back()
        if mine:
            await _clear(parts, mine)


async def _claim(parts: Parts, service: Object, old: Object | None) -> tuple[Callable[[], None], set[str]]:
    for _ in range(ATTEMPTS):
        await parts.store.catch_up()
        entry = parts.store.get(KEY)
        live = live_claims(entry.value if entry else b"", parts.config.clock.now().timestamp())
        candidate = {**service, "spec": deepcopy(service["spec"])}
        give_back = parts.service_ips.reserve(candidate, old, claimed=live.keys())
        mine = claims_of(candidate) - claims_of(old or {})
        try:
            if not mine or await _write(parts, entry, {**live, **dict.fromkeys(mine, _end(parts))}):
                service["spec"] = candidate["spec"]
                return give_back, mine
        except store_errors.StoreError:
            give_back()
            raise
        give_back()
    raise errors.ServerTimeout("the addresses of Services are in demand by many servers at once; try again")


async def _clear(parts: Parts, mine: set[str]) -> None:
    try:
        for _ in range(ATTEMPTS):
            await parts.store.catch_up()
            entry = parts.store.get(KEY)
            live = live_claims(entry.value if entry else b"", parts.config.clock.now().timestamp())
            if await _write(parts, entry, {name: until for name, until in live.items() if name not in mine}):
                return
    except store_errors.StoreError as err:
        logger.warning("claims of %s stay for %d s: %s", ", ".join(sorted(mine)), CLAIM_S, err)


async def _write(parts: Parts, entry: backends.Entry | None, claims: Mapping[str, float]) -> bool:
    metadata = {"name": "serviceclaims"}
    value = codec.encode({"kind": "RangeAllocation", "apiVersion": "v1", "metadata": metadata, "claims": claims})
    if entry is None:
        result = await parts.store.create(KEY, value)
    else:
        result = await parts.store.update(KEY, value, expected=entry.modified)
    return not isinstance(result, backends.Conflict)


def _end(parts: Parts) -> float:
    return parts.config.clock.now().timestamp() + CLAIM_S


def live_claims(value: bytes, now_s: float) -> dict[str, float]:
    """Return the claims in the key's value that have not ended, each with its end."""
    if not value:
        return {}
    claims: Mapping[str, float] = msgspec.json.decode(value)["claims"]
    return {name: until for name, until in claims.items() if until > now_s}


def claims_of(service: Object) -> set[str]:
    """Return what a Service claims: addresses as they are, ports as numbers."""
    return {*ips_of(service), *map(str, ports_of(service))}
