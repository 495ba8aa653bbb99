"""What a store is written on: one revision counter, compare-and-swap, ranges at a revision, and an ordered feed of changes.

The counterpart of the part of etcd's API that kube-apiserver uses. Three sides exist: `memory`, `sqlite` and `etcd`. A backend
knows bytes alone; every value that leaves it carries its revision (see `stamp`). All of it belongs to one event loop.

Invariants: revisions grow with each write (by one, unless others write to the same etcd); the feed delivers every change after a
revision exactly once, in order, on the event loop, before `write` returns; nothing is delivered or returned before it is durable.
"""

from collections.abc import Callable, Sequence
from typing import NewType, Protocol

import msgspec

Revision = NewType("Revision", int)
"""A position in the order of all writes; the resourceVersion of what was written there."""

LATEST = Revision(0)
"""Stands for the newest revision where one is asked for."""

ABSENT = Revision(0)
"""Expected by a write that creates: the key must not exist."""

UNDECIDED = Revision(-1)
"""No key ever stands there."""


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A key's value between two writes of it.

    Attributes:
        key: Such as b"/registry/pods/default/web".
        value: The encoded object, stamped with `modified`.
        created: The revision that created the key.
        modified: The revision that wrote this value.
    """

    key: bytes
    value: bytes
    created: Revision
    modified: Revision


class Event(msgspec.Struct, frozen=True):
    """One durable change of one key.

    Attributes:
        revision: When.
        key: What.
        entry: What stands there now; None after a deletion.
        previous: What stood there before; None at a creation.
    """

    revision: Revision
    key: bytes
    entry: Entry | None
    previous: Entry | None


class Range(msgspec.Struct, frozen=True):
    """The live keys of a range at one revision.

    Attributes:
        entries: Ascending by key.
        revision: The revision that was read.
        more: Whether the limit left entries out.
    """

    entries: list[Entry]
    revision: Revision
    more: bool = False


class Conflict(msgspec.Struct, frozen=True):
    """A write that lost: the key did not stand where the writer expected it.

    Attributes:
        current: What stands there now; None if nothing.
    """

    current: Entry | None


class Ticket:
    """A write that is under way, for one that builds on it before it is durable.

    Attributes:
        revision: What the write became; UNDECIDED until it is, and for good if it is not made.
    """

    __slots__ = ("revision",)

    def __init__(self) -> None:
        self.revision = UNDECIDED


def revision_of(expected: "Revision | Ticket") -> Revision:
    """Return the revision at which a key must stand; one at which no key stands if the write that it depends on is not made."""
    return expected.revision if isinstance(expected, Ticket) else expected


Deliver = Callable[[Sequence[Event]], None]
"""Takes the events of one commit, ascending by revision. Must not raise."""


class Backend(Protocol):
    """Durable keys, values and revisions."""

    async def open(self, deliver: Deliver, *, on_gap: Callable[[], None] | None = None) -> Range:
        """Start and read everything that lives; every later change goes to `deliver`.

        Args:
            deliver: Takes the changes.
            on_gap: Called when changes were missed for good: the next delivery is the difference to what stands now, and who
                watches has to begin anew.

        Raises:
            Corrupt: What is stored cannot be trusted.
            InUse: Another process has it.
            Unavailable: It cannot be reached.
        """

    @property
    def revision(self) -> Revision:
        """The newest durable revision."""

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can still be read; watches may start after it."""

    async def get(self, key: bytes) -> Entry | None:
        """Read one key as it stands now."""

    async def list_range(self, start: bytes, end: bytes, *, revision: Revision = LATEST, limit: int = 0) -> Range:
        """Read the live keys of [start, end) as they stood at one revision.

        Args:
            start: First key, inclusive.
            end: Last key, exclusive; empty means to the very end.
            revision: A revision between `compacted` and `revision`; LATEST reads the newest.
            limit: Most entries returned; 0 means all.

        Raises:
            Compacted: `revision` is older than the last compaction.
            FutureRevision: `revision` has not happened yet.

        Source: etcd 3.5 Range, https://etcd.io/docs/v3.5/learning/api/#range
        """

    async def list_events(self, start: bytes, end: bytes, *, after: Revision, until: Revision) -> list[Event]:
        """Read the changes of [start, end) with after < revision <= until, in order.

        Raises:
            Compacted: `after` is older than the last compaction.
        """

    @property
    def is_ordered(self) -> bool:
        """Whether writes are decided in the order in which they were asked for, so that one may expect another's ticket."""

    async def write(
        self, key: bytes, value: bytes | None, *, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        """Put or delete one key if it stands at `expected`.

        Args:
            key: The key.
            value: The unstamped value; None deletes.
            expected: The entry's `modified`; ABSENT if there must be none; if `is_ordered`, also the ticket of a write
                asked for before, whose outcome the key must hold.
            ticket: Is told what this write became.

        Returns:
            The event, durable and delivered; or Conflict.

        Raises:
            Unavailable: Nothing was written, because of a full or read-only disk or a lost peer; trying again may work.
            Uncertain: It may or may not have been written: the answer of a shared backend was lost.
        """

    async def catch_up(self) -> None:
        """Wait until every write acknowledged before this call, by whichever server, has been delivered here.

        Raises:
            Unavailable: A shared backend does not answer.
        """

    async def compact(self, revision: Revision) -> None:
        """Forget what was superseded at or before `revision`; older reads raise Compacted from now on."""

    async def aclose(self) -> None:
        """Finish the writes under way and let go of everything."""


def range_end(prefix: bytes) -> bytes:
    """Return the first key after all that start with `prefix`; empty if there is no such key."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b""
