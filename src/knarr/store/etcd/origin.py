"""Where a cluster's objects in etcd came from: written when they are brought in from elsewhere, read when a server starts.

Revisions must not go back when objects move to an etcd that counts from 1 again, or when an older state is restored: a client that
remembers revision 5,000 would miss what happens at the new 5,000. So the difference is kept beside the objects and added to each
revision of etcd's, and what came before the move cannot be asked for.
"""

import msgspec

from knarr.store.errors import Corrupt, Unavailable
from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd.client import Client, Refused


class Origin(msgspec.Struct, frozen=True):
    """The record.

    Attributes:
        offset: What is added to etcd's revisions.
        since: The first revision of ours that can be asked for.
        unfinished: Whether objects are being brought in: they are not to be used yet.
    """

    offset: int = 0
    since: int = 0
    unfinished: bool = False


def key(prefix: bytes) -> bytes:
    """Return where the record of the objects below a prefix stands: beside them, so that kube-apiserver does not meet it."""
    return b"knarr_origin" + prefix


async def read(client: Client, prefix: bytes, *, unfinished: bool = False) -> Origin:
    """Read the record; without one etcd's revisions are ours.

    Args:
        client: The connection.
        prefix: Of the objects.
        unfinished: Whether objects that were not brought in to the end are wanted.

    Raises:
        Corrupt: It cannot be understood, or the objects were not brought in to the end.
        Unavailable: etcd does not answer.
    """
    try:
        answer = await client.read("KV/Range", pb.RangeRequest(key=key(prefix)), pb.RangeResponse)
    except Refused as err:
        raise Unavailable(str(client), err.message) from err
    if not answer.kvs:
        return Origin()
    try:
        found = msgspec.json.decode(answer.kvs[0].value, type=Origin)
    except msgspec.MsgspecError as err:
        raise Corrupt(f"{client}{prefix.decode()}", f"its {key(prefix).decode()} makes no sense: {err}") from err
    if found.unfinished and not unfinished:
        raise Corrupt(f"{client}{prefix.decode()}", "a migration or restore to it did not end; run it again")
    return found
