"""Where a store is, in words: `sqlite:/var/lib/knarr/state.db`, `memory`, or `etcd://host:port,host:port/prefix`."""

from pathlib import Path

from knarr.store.backend import Backend
from knarr.store.errors import BadAddress
from knarr.store.etcd import endpoints
from knarr.store.memory import MemoryBackend
from knarr.store.sqlite import SqliteBackend

SQLITE = "sqlite"
MEMORY = "memory"


def is_shared(text: str) -> bool:
    """Return whether several servers may use a store at a time."""
    return text.startswith(endpoints.SCHEME)


def make(text: str, *, default: Path, tls: endpoints.Files | None = None) -> Backend:
    """Make the backend that a text names; it is not open yet.

    Args:
        text: The place; `sqlite` alone, and nothing at all, is the default file.
        default: The file of `sqlite`; relative files are below its folder.
        tls: What etcd is shown, and trusted by.

    Raises:
        BadAddress: The text names nothing, or the TLS files cannot be used.
    """
    if is_shared(text):
        from knarr.store.etcd.backend import EtcdBackend  # gRPC is loaded by those who use it

        return EtcdBackend(endpoints.parse(text), (tls or endpoints.Files()).to_context())
    path = sqlite_file(text, default=default)
    return MemoryBackend() if path is None else SqliteBackend(path)


def sqlite_file(text: str, *, default: Path) -> Path | None:
    """Return the file of a store that is not etcd's; None for `memory`.

    Raises:
        BadAddress: The text names nothing.
    """
    if text == MEMORY:
        return None
    if text in ("", SQLITE):
        return default
    kind, colon, path = text.partition(":")
    if kind != SQLITE or not colon or not path:
        raise BadAddress(f"{text!r} names no store: expected sqlite, sqlite:FILE, memory or etcd://host:port,…/prefix")
    return default.parent / path.removeprefix("//")
