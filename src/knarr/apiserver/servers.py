"""Servers that share a store tell each other that they live, so that the Service `kubernetes` has those that do and no other.

Each keeps one key with a number that grows. A server whose number stood still for some rounds, in which this one could write its own,
is taken for dead and its key away: no clocks are compared, and a store that answers nobody buries nobody. Who stops in order takes away
its key at once.

Source: pkg/controlplane/reconcilers/lease.go (v1.37), which leaves time to etcd's leases.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from knarr.api import codec, errors
from knarr.apiserver import bootstrap
from knarr.apiserver.parts import Parts
from knarr.store import backend as backends
from knarr.store import errors as store_errors
from knarr.store import query

PREFIX = b"/registry/masterleases/"
ROUND_S = 1.0
DEAD_AFTER_ROUNDS = 4

Object = dict[str, Any]

logger = logging.getLogger(__name__)


class Beats:
    """Counts for how many rounds each server has been silent; pure.

    Args:
        limit: After so many rounds it is dead.
    """

    def __init__(self, limit: int = DEAD_AFTER_ROUNDS) -> None:
        self._limit = limit
        self._seen: dict[str, tuple[int, int]] = {}

    def note(self, found: dict[str, int]) -> set[str]:
        """Note what stands in the keys after a round in which the own key could be written.

        Args:
            found: Address to number.

        Returns:
            Who is dead.
        """
        silent = {}
        for ip, beat in found.items():
            before, rounds = self._seen.get(ip, (None, 0))
            silent[ip] = (beat, rounds + 1 if beat == before else 0)
        self._seen = silent
        return {ip for ip, (_, rounds) in silent.items() if rounds >= self._limit}


class Servers:
    """This server's sign of life, and what it makes of the others'.

    Args:
        parts: Of this server.
        port: Where clients reach it, and all others, too.
    """

    def __init__(self, parts: Parts, port: int) -> None:
        self._parts = parts
        self._port = port
        self._ip = parts.config.advertise_address
        self._beats = Beats()
        self._beat = parts.random.randrange(1 << 30)
        self._is_leaving = False

    async def start(self) -> None:
        """Make the Service, and be among its endpoints."""
        await bootstrap.ensure_service(self._parts, self._port)
        await self._round()

    async def run(self) -> None:
        """Give signs of life until cancelled or `leave` is called."""
        while not self._is_leaving:
            await self._parts.config.clock.sleep(ROUND_S)
            try:
                async with asyncio.timeout(ROUND_S * DEAD_AFTER_ROUNDS):
                    await self._round()
            except (store_errors.StoreError, errors.StatusError, TimeoutError) as err:
                logger.warning("no sign of life could be given: %s", err or "no answer")

    async def leave(self) -> None:
        """Be no endpoint any more."""
        self._is_leaving = True
        key = PREFIX + self._ip.encode()
        try:
            entry = self._parts.store.get(key)
            if entry is not None:
                await self._parts.store.delete(key, expected=entry.modified)
            others = [ip for ip in self._read() if ip != self._ip]
            if others:
                await bootstrap.ensure_endpoints(self._parts, self._port, others)
        except (store_errors.StoreError, errors.StatusError) as err:
            logger.warning("the others were not told that this server stops: %s", err)

    async def _round(self) -> None:
        store = self._parts.store
        await store.catch_up()
        if self._is_leaving:
            return
        key, self._beat = PREFIX + self._ip.encode(), self._beat + 1
        value = codec.encode(format_sign(self._ip, self._beat))
        entry = store.get(key)
        if entry is None:
            result = await store.create(key, value)
        else:
            result = await store.update(key, value, expected=entry.modified)
        if isinstance(result, backends.Conflict):
            logger.warning("another server says that it is at %s, too", self._ip)
            return
        found = self._read()
        for ip in self._beats.note(found) - {self._ip}:
            logger.warning("the server at %s is silent: taken out of the endpoints", ip)
            del found[ip]
            entry = store.get(PREFIX + ip.encode())
            if entry is not None:
                await store.delete(entry.key, expected=entry.modified)
        await bootstrap.ensure_endpoints(self._parts, self._port, found)

    def _read(self) -> dict[str, int]:
        return read_signs(self._parts.store.list(query.Query(PREFIX)).entries)


def format_sign(ip: str, beat: int) -> Object:
    """Return what stands in a server's key: Endpoints whose generation grows, as kube-apiserver has it."""
    return {
        "kind": "Endpoints",
        "apiVersion": "v1",
        "metadata": {"name": ip, "generation": beat},
        "subsets": [{"addresses": [{"ip": ip}]}],
    }


def read_signs(entries: Iterable[backends.Entry]) -> dict[str, int]:
    """Return the numbers of the servers by address; what cannot be read is passed over."""
    found = {}
    for entry in entries:
        try:
            sign = msgspec.json.decode(entry.value)
            found[str(sign["subsets"][0]["addresses"][0]["ip"])] = int(sign["metadata"].get("generation", 0))
        except (msgspec.MsgspecError, KeyError, IndexError, TypeError, ValueError):
            continue
    return found
