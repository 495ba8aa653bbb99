"""Carries what the kernel remembers of sticky clients over a replacement of the whole table."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from knarr.network.errors import CommandFailed
from knarr.network.proxy import nft
from knarr.network.proxy.rules import SET
from knarr.network.proxy.ruleset import Change
from knarr.network.proxy.skeleton import Table

Clients = Mapping[str, Mapping[str, int]]
"""By set name: client addresses, and for how many seconds each is still remembered."""


class _Element(msgspec.Struct):
    val: Any = None
    expires: int = 0


class _Wrapped(msgspec.Struct):
    elem: _Element


class _Set(msgspec.Struct):
    name: str
    elem: list[Any] = []


class _Item(msgspec.Struct):
    set: _Set | None = None


class _Listing(msgspec.Struct):
    nftables: list[_Item]


async def read_clients(table: Table, changes: Iterable[Change]) -> Clients:
    """Return the clients that the sets of `changes` have in the kernel at the moment."""
    wanted = {change.key[1] for change in changes if change.key[0] == SET}
    if not wanted:
        return {}
    try:
        listing = await nft.list_sets(table.path)
    except CommandFailed:
        return {}  # there is no table yet
    return {name: found for name, found in parse_clients(listing).items() if name in wanted}


def parse_clients(listing: str) -> Clients:
    """Read what `nft -j list sets` prints; sets without timeouts are left out."""
    clients: dict[str, dict[str, int]] = {}
    for item in msgspec.json.decode(listing, type=_Listing).nftables:
        for one in item.set.elem if item.set else ():
            if isinstance(one, dict) and "elem" in one:
                element = msgspec.convert(one, _Wrapped).elem
                if item.set and isinstance(element.val, str) and element.expires > 0:
                    clients.setdefault(item.set.name, {})[element.val] = element.expires
    return clients


def format_clients(clients: Clients, table: Table) -> str:
    """Return nft commands that add clients to sets that exist."""
    lines = []
    for name, found in clients.items():
        elements = ", ".join(f"{address} expires {seconds}s" for address, seconds in found.items())
        lines.append(f"add element {table.path} {name} {{ {elements} }}\n")
    return "".join(lines)
