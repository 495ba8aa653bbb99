"""A backend around a backend: values are encrypted on their way down and decrypted on their way up.

The revision stamp (see `store.stamp`) belongs to the plain text: cipher text is stored with an empty stamp inside, and the revision is
filled in after decryption. What the backend below sees of an encrypted value is opaque bytes.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from knarr.apiserver.encryption import configuration
from knarr.apiserver.encryption.errors import BadConfiguration, Undecryptable
from knarr.kit import clock as clocks
from knarr.store import backend as backends
from knarr.store import stamp
from knarr.store.backend import LATEST, Conflict, Deliver, Entry, Event, Range, Revision, Ticket

RELOAD_S = 60.0

logger = logging.getLogger(__name__)


class EncryptedBackend:
    """A `Backend` whose durable form is encrypted.

    Args:
        inner: Keeps the cipher text.
        path: The EncryptionConfiguration.

    Raises:
        BadConfiguration: The file cannot be used.
    """

    def __init__(self, inner: backends.Backend, path: Path) -> None:
        self._inner = inner
        self._path = path
        self._content = path.read_bytes() if path.exists() else b""
        self._configuration = configuration.load(path)
        self._former: list[configuration.Configuration] = []  # what this process wrote, it can read
        self._live: dict[
            bytes, Entry
        ] = {}  # plain text of what stands encrypted; the watch cache holds the same entries
        self._prefixes: dict[bytes, bytes] = {}  # what wrote it
        self._deliver: Deliver | None = None

    @property
    def revision(self) -> Revision:
        """The newest durable revision."""
        return self._inner.revision

    @property
    def compacted(self) -> Revision:
        """The oldest revision that can still be read."""
        return self._inner.compacted

    def is_stale(self, key: bytes) -> bool:
        """Return whether what stands at a key should be written anew, as another provider or key writes now."""
        return self._prefixes.get(key, b"") != self._configuration.of_key(key).prefix

    async def open(self, deliver: Deliver, *, on_gap: Callable[[], None] | None = None) -> Range:
        """Start, and decrypt everything.

        Raises:
            Undecryptable: A value cannot be read with the configured keys.
        """
        self._deliver = deliver
        everything = await self._inner.open(self._on_events, on_gap=on_gap)
        return Range([self._adopt(entry) for entry in everything.entries], everything.revision, everything.more)

    async def get(self, key: bytes) -> Entry | None:
        """Read one key."""
        entry = await self._inner.get(key)
        return None if entry is None else self._open_entry(entry)

    async def list_range(self, start: bytes, end: bytes, *, revision: Revision = LATEST, limit: int = 0) -> Range:
        """Read a range at a revision."""
        found = await self._inner.list_range(start, end, revision=revision, limit=limit)
        return Range([self._open_entry(entry) for entry in found.entries], found.revision, found.more)

    async def list_events(self, start: bytes, end: bytes, *, after: Revision, until: Revision) -> list[Event]:
        """Read past changes."""
        return [self._open_event(one) for one in await self._inner.list_events(start, end, after=after, until=until)]

    @property
    def is_ordered(self) -> bool:
        """As the backend below."""
        return self._inner.is_ordered

    async def write(
        self, key: bytes, value: bytes | None, *, expected: Revision | Ticket, ticket: Ticket | None = None
    ) -> Event | Conflict:
        """Encrypt and write."""
        chosen = self._configuration.of_key(key)
        stored = value if value is None or not chosen.prefix else chosen.encrypt(value, key)
        result = await self._inner.write(key, stored, expected=expected, ticket=ticket)
        if isinstance(result, Conflict):
            return Conflict(None if result.current is None else self._open_entry(result.current))
        return self._open_event(result)

    async def catch_up(self) -> None:
        """Wait until what others wrote has been delivered."""
        await self._inner.catch_up()

    async def compact(self, revision: Revision) -> None:
        """Forget history."""
        await self._inner.compact(revision)

    async def aclose(self) -> None:
        """Close the backend below."""
        await self._inner.aclose()

    async def keep_fresh(self, clock: clocks.Clock) -> None:
        """Follow changes of the configuration file, once a minute; a file that cannot be used is left alone."""
        while True:
            await clock.sleep(RELOAD_S)
            self.reload()

    def reload(self) -> None:
        """Take over the configuration file if it has changed and still reads everything that is stored."""
        try:
            content = self._path.read_bytes()
            if content == self._content:
                return
            fresh = configuration.load(self._path)
        except (OSError, BadConfiguration) as err:
            logger.error("failed to load the encryption configuration, the former one stays: %s", err)
            return
        lost = sorted({prefix for key, prefix in self._prefixes.items() if not fresh.of_key(key).is_reader(prefix)})
        if lost:
            named = b", ".join(lost).decode()
            logger.error(
                "the new encryption configuration cannot read what is stored with %s, the former one stays", named
            )
            return
        self._former.append(self._configuration)
        self._configuration, self._content = fresh, content
        logger.info("encryption configuration %s was reloaded", self._path)

    def _on_events(self, events: Sequence[Event]) -> None:
        assert self._deliver is not None
        opened = []
        for event in events:
            previous = None if event.previous is None else self._open_entry(event.previous)
            self._prefixes.pop(event.key, None)
            self._live.pop(event.key, None)
            entry = None if event.entry is None else self._adopt(event.entry)
            opened.append(Event(event.revision, event.key, entry, previous))
        self._deliver(opened)

    def _open_event(self, event: Event) -> Event:
        entry = None if event.entry is None else self._open_entry(event.entry)
        previous = None if event.previous is None else self._open_entry(event.previous)
        return Event(event.revision, event.key, entry, previous)

    def _adopt(self, entry: Entry) -> Entry:
        """Decrypt what stands now, and remember it."""
        plain, prefix = self._decrypt(entry)
        if not prefix:
            return entry
        opened = Entry(entry.key, stamp.apply(plain, entry.modified), entry.created, entry.modified)
        self._live[entry.key], self._prefixes[entry.key] = opened, prefix
        return opened

    def _open_entry(self, entry: Entry) -> Entry:
        live = self._live.get(entry.key)
        if live is not None and live.modified == entry.modified:
            return live
        plain, prefix = self._decrypt(entry)
        if not prefix:
            return entry
        return Entry(entry.key, stamp.apply(plain, entry.modified), entry.created, entry.modified)

    def _decrypt(self, entry: Entry) -> tuple[bytes, bytes]:
        try:
            return self._configuration.of_key(entry.key).decrypt(entry.value, entry.key)
        except Undecryptable:
            for former in reversed(self._former):
                with suppress(Undecryptable):
                    return former.of_key(entry.key).decrypt(entry.value, entry.key)
            raise
