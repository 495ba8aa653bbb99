"""Watches: from the bytes of a response that does not end to typed events.

Each line is decoded once, straight into the model. A server sends a line as one chunk, so the usual chunk needs neither splitting
nor joining.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec

from knarr.api import errors
from knarr.client.errors import BadAnswer
from knarr.client.kinds import EventAnswer, Kind

T = TypeVar("T")

ADDED = "ADDED"
MODIFIED = "MODIFIED"
DELETED = "DELETED"
BOOKMARK = "BOOKMARK"

INITIAL_EVENTS_END = "k8s.io/initial-events-end"

_raw_event = msgspec.json.Decoder(EventAnswer[msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Event(Generic[T]):
    """One event of a watch.

    Attributes:
        type: ADDED, MODIFIED, DELETED or BOOKMARK.
        object: The object as it is now, or as it was last for DELETED; None for BOOKMARK.
        revision: The resource version that a watch can be resumed after.
        initial_end: For a BOOKMARK: all objects that existed when the watch began have been sent.
    """

    type: str
    object: T | None
    revision: str
    initial_end: bool = False


class _BookmarkMeta(msgspec.Struct):
    resourceVersion: str = ""
    annotations: dict[str, str] | None = None


class _Bookmark(msgspec.Struct):
    metadata: _BookmarkMeta


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """Yield the lines of a stream without their ends; what follows the last line end is yielded last."""
    rest = b""
    async for chunk in chunks:
        data = rest + chunk if rest else chunk
        end = data.find(b"\n")
        if end == len(data) - 1:
            rest = b""
            yield data[:-1]
            continue
        start = 0
        while end >= 0:
            yield data[start:end]
            start = end + 1
            end = data.find(b"\n", start)
        rest = data[start:]
    if rest:
        yield rest


def decode_event(kind: Kind[T], line: bytes) -> Event[T]:
    """Decode one line of a watch.

    Raises:
        StatusError: the line is an ERROR event; Gone if the revision to resume from is too old.
        BadAnswer: the line is not an event of this kind.
    """
    try:
        head = line[:24]
        if b'"ERROR"' in head or b'"BOOKMARK"' in head or b'"type":"' not in head:
            return _decode_special(kind, line)
        event = kind.event_decoder.decode(line)
        return Event(event.type, event.object, revision_of(event.object))
    except msgspec.DecodeError as err:
        raise BadAnswer(f"watch of {kind.resource.plural}: {err}") from err


def _decode_special(kind: Kind[T], line: bytes) -> Event[T]:
    raw = _raw_event.decode(line)
    if raw.type == "ERROR":
        status = msgspec.json.decode(raw.object)
        raise errors.from_status(status if isinstance(status, dict) else {}, 500)
    if raw.type == BOOKMARK:
        meta = msgspec.json.decode(raw.object, type=_Bookmark).metadata
        ended = (meta.annotations or {}).get(INITIAL_EVENTS_END) == "true"
        return Event(BOOKMARK, None, meta.resourceVersion, ended)
    obj = kind.decoder.decode(raw.object)
    return Event(raw.type, obj, revision_of(obj))


def revision_of(obj: Any) -> str:
    """Return the resource version of an object, typed or dict."""
    if isinstance(obj, dict):
        return str((obj.get("metadata") or {}).get("resourceVersion") or "")
    return (obj.metadata and obj.metadata.resourceVersion) or ""
