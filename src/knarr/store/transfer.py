"""From one store to another: snapshots of either kind of store, restoring them, and moving for good."""

import asyncio
from pathlib import Path

import msgspec

from knarr.store import places, snapshots, sqlite_schema
from knarr.store.backend import Range
from knarr.store.errors import BadAddress, InUse, NotEmpty
from knarr.store.etcd import endpoints


class Place(msgspec.Struct, frozen=True):
    """One store.

    Attributes:
        text: As `places` reads it.
        default: The file of a bare `sqlite`.
        tls: The files of TLS, for etcd.
    """

    text: str
    default: Path
    tls: endpoints.Files = endpoints.Files()

    @property
    def file(self) -> Path | None:
        """The file of SQLite's; None for etcd.

        Raises:
            BadAddress: It is neither.
        """
        if places.is_shared(self.text):
            return None
        path = places.sqlite_file(self.text, default=self.default)
        if path is None:
            raise BadAddress(f"a store in {self.text} ends with its server: there is nothing to save or to move")
        return path


async def save(place: Place, target: Path) -> snapshots.Info:
    """Make a snapshot of a store, which may be in use.

    Raises:
        StoreError: It cannot be read, or the file not be written.
    """
    if place.file is not None:
        return await asyncio.to_thread(snapshots.copy, place.file, target)
    return await asyncio.to_thread(snapshots.write, await _read_etcd(place), target)


async def restore(snapshot: Path, place: Place, *, replace: bool = True) -> Path | None:
    """Put a snapshot in the place of a store whose servers are stopped.

    Returns:
        Where a file that was there before went.

    Raises:
        StoreError: The snapshot is damaged, a server runs, or something cannot be written.
    """
    state = await asyncio.to_thread(snapshots.read, snapshot)
    if place.file is not None:
        return await asyncio.to_thread(snapshots.restore, state, place.file)
    await _write_etcd(place, state, least=state.revision + snapshots.BUMP, replace=replace)
    return None


async def migrate(source: Place, target: Place, *, replace: bool = False) -> Range:
    """Move what stands in one store, whose servers are stopped, to another.

    Revisions are kept on the way to SQLite and go on above the former ones on the way to etcd, so that clients which remember
    one either go on from it or are told to begin anew.

    Args:
        source: From where; it is left as it is.
        target: Where to.
        replace: Whether what is in `target` may go.

    Returns:
        What was moved.

    Raises:
        NotEmpty: Something stands in `target`.
        InUse: A server writes to `source`.
        StoreError: Something cannot be read or written.
    """
    if source.file is None:
        state = await _read_etcd(source)
        await _to(state, target, replace=replace)
        if await _has_changed(source, state):
            raise InUse(source.text)
        return state
    lock = sqlite_schema.lock(source.file)
    try:
        state = await asyncio.to_thread(snapshots.read, source.file)
        await _to(state, target, replace=replace)
    finally:
        sqlite_schema.unlock(lock)
    return state


async def _to(state: Range, target: Place, *, replace: bool) -> None:
    if target.file is None:
        await _write_etcd(target, state, least=state.revision + 1, replace=replace)
        return
    if target.file.exists():
        if not replace:
            raise NotEmpty(str(target.file), snapshots.check(target.file).objects)
        await asyncio.to_thread(snapshots.restore, state, target.file)
        return
    await asyncio.to_thread(snapshots.write, state, target.file)


async def _read_etcd(place: Place) -> Range:
    from knarr.store.etcd.backend import EtcdBackend  # gRPC is loaded by those who use it

    backend = EtcdBackend(endpoints.parse(place.text), place.tls.to_context())
    try:
        return await backend.read_everything()
    finally:
        await backend.aclose()


async def _write_etcd(place: Place, state: Range, *, least: int, replace: bool) -> None:
    from knarr.store.etcd import client, importing

    address = endpoints.parse(place.text)
    connection = client.Client(address.endpoints, place.tls.to_context())
    try:
        await importing.bring_in(connection, address.prefix, state, least=least, replace=replace)
    finally:
        connection.close()


async def _has_changed(place: Place, state: Range) -> bool:
    now = await _read_etcd(place)
    return [(one.key, one.modified) for one in now.entries] != [(one.key, one.modified) for one in state.entries]
