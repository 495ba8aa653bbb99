"""How keys and values stand in etcd: as kube-apiserver's with --storage-media-type=application/json.

A key of the store, /registry/<storage>/…, stands below the prefix, which is /registry unless told otherwise. A value stands
without a resourceVersion, which is etcd's own mod_revision; it is stamped (see `stamp`) on its way up. Values that kube-apiserver
wrote as JSON are read, too.

Source: k8s.io/apiserver/pkg/storage/etcd3/store.go and pkg/storage/storagebackend/config.go (v1.37).
"""

import msgspec

from knarr.store import stamp
from knarr.store.backend import Entry, Event, Revision, range_end
from knarr.store.etcd import etcd_pb2 as pb

ROOT = b"/registry"
"""Where the keys of the store begin, and kube-apiserver's --etcd-prefix unless told otherwise."""


class Layout(msgspec.Struct):
    """Where one cluster's keys stand, and which revision of ours a revision of etcd's is.

    Attributes:
        prefix: In the place of /registry; without a slash at its end.
        offset: Ours less etcd's: 0, unless the objects came from another store whose revisions were higher (see `origin`).
    """

    prefix: bytes = ROOT
    offset: int = 0

    def to_ours(self, revision: int) -> Revision:
        """Return what a revision of etcd's is called here."""
        return Revision(revision + self.offset)

    def to_theirs(self, revision: int) -> int:
        """Return what a revision is called by etcd: 0, which names none, stays 0, and one that etcd never had is negative."""
        return revision - self.offset if revision else 0

    def to_etcd(self, key: bytes) -> bytes:
        """Return where a key of the store stands."""
        assert key.startswith(ROOT + b"/"), key
        return self.prefix + key[len(ROOT) :]

    def from_etcd(self, key: bytes) -> bytes:
        """Return the key of the store that stands at a key of etcd's."""
        return ROOT + key[len(self.prefix) :]

    def is_ours(self, key: bytes) -> bool:
        """Return whether a key of etcd's belongs to this cluster."""
        return key.startswith(self.prefix) and key[len(self.prefix) : len(self.prefix) + 1] == b"/"

    def to_range(self, start: bytes, end: bytes) -> tuple[bytes, bytes]:
        """Return the part of [start, end) that is ours, in etcd's keys; an empty `end` means to the very end."""
        first = max(start, ROOT + b"/")
        last = range_end(ROOT + b"/")
        last = min(end, last) if end else last
        return self.prefix + first[len(ROOT) :], self.prefix + last[len(ROOT) :]

    def to_entry(self, pair: pb.KeyValue) -> Entry:
        """Return what etcd holds at a key, stamped."""
        revision = self.to_ours(pair.mod_revision)
        value = stamped(pair.value, revision)
        return Entry(self.from_etcd(pair.key), value, self.to_ours(pair.create_revision), revision)

    def to_event(self, event: pb.Event, previous: Entry | None) -> Event:
        """Return one change of a key."""
        entry = None if event.type == pb.Event.DELETE else self.to_entry(event.kv)
        return Event(self.to_ours(event.kv.mod_revision), self.from_etcd(event.kv.key), entry, previous)


def stamped(value: bytes, revision: Revision) -> bytes:
    """Return a value with its revision in it; what is not JSON (cipher text) comes back as it is."""
    with_stamp = stamp.apply(value, revision)
    if with_stamp is not value and with_stamp != value:
        return with_stamp
    if not value.startswith(b"{"):
        return value
    return stamp.apply(_add_stamp(value), revision)


def _add_stamp(value: bytes) -> bytes:
    """Return an object that kube-apiserver wrote in the order that the store keeps."""
    try:
        obj = msgspec.json.decode(value)
        metadata = {"resourceVersion": "", **obj.pop("metadata")}
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        return value
    metadata["resourceVersion"] = ""
    named = {name: obj.pop(name) for name in ("kind", "apiVersion") if name in obj}
    return msgspec.json.encode({**named, "metadata": metadata, **obj})
