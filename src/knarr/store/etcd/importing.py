"""Bringing objects into etcd from elsewhere: all of them or, as servers see it, none.

Counterpart: etcdutl snapshot restore --bump-revision --mark-compacted, which changes files where this writes through the API.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import msgspec

from knarr.store import stamp
from knarr.store.backend import Entry, Range
from knarr.store.errors import NotEmpty, Unavailable
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd import origin
from knarr.store.etcd.client import Client, Refused
from knarr.store.etcd.layout import Layout

BATCH_KEYS = 100
"""Keys written in one transaction; etcd takes 128 unless told otherwise."""
BATCH_BYTES = 1 << 20
"""Bytes written in one transaction; etcd takes 1.5 MiB unless told otherwise."""


async def bring_in(client: Client, prefix: bytes, state: Range, *, least: int, replace: bool = False) -> None:
    """Put a state below a prefix; what a server then calls its revision is at least `least`.

    Args:
        client: The connection.
        prefix: Where.
        state: What is to stand there.
        least: More than any revision that a client may remember.
        replace: Whether what stands there may go.

    Raises:
        NotEmpty: Something stands there, and is not to be replaced.
        Unavailable, Uncertain: etcd did not take everything; run it again.
    """
    before = await origin.read(client, prefix, unfinished=True)
    layout = Layout(prefix, before.offset)
    first, last = layout.to_range(b"", b"")
    found = await _read(client, pb.RangeRequest(key=first, range_end=last, count_only=True))
    if found.count and not (replace or before.unfinished):
        raise NotEmpty(f"{client}{prefix.decode()}", found.count)
    least = max(least, layout.to_ours(found.header.revision) + 1)
    offset = max(before.offset, least - found.header.revision)
    await _mark(client, prefix, origin.Origin(offset, unfinished=True))
    if found.count:
        await _write(client, [pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=first, range_end=last))])
    revision = found.header.revision
    for batch in _batches(state.entries):
        puts = [
            pb.PutRequest(key=layout.to_etcd(one.key), value=stamp.remove(one.value, one.modified)) for one in batch
        ]
        revision = await _write(client, [pb.RequestOp(request_put=put) for put in puts])
    await _mark(client, prefix, origin.Origin(offset, since=revision + 1 + offset))


async def _mark(client: Client, prefix: bytes, record: origin.Origin) -> None:
    put = pb.PutRequest(key=origin.key(prefix), value=msgspec.json.encode(record))
    await _write(client, [pb.RequestOp(request_put=put)])


async def _write(client: Client, changes: Sequence[pb.RequestOp]) -> int:
    try:
        answer = await client.write("KV/Txn", pb.TxnRequest(success=changes), pb.TxnResponse)
    except Refused as err:
        raise Unavailable(str(client), err.message) from err
    return answer.header.revision


async def _read(client: Client, request: pb.RangeRequest) -> pb.RangeResponse:
    try:
        return await client.read("KV/Range", request, pb.RangeResponse)
    except Refused as err:
        raise Unavailable(str(client), err.message) from err


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    rest = iter(entries)
    batch: list[Entry] = []
    size = 0
    while (one := next(islice(rest, 1), None)) is not None:
        if batch and (len(batch) == BATCH_KEYS or size + len(one.value) > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(one)
        size += len(one.key) + len(one.value)
    if batch:
        yield batch
