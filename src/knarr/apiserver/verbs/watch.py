"""WATCH: what happens to a collection, from now or from a revision on, as a stream of JSON lines.

Source: https://kubernetes.io/docs/reference/using-api/api-concepts/ (watch, bookmarks, streaming lists);
k8s.io/apiserver/pkg/endpoints/handlers/{get,watch}.go and pkg/storage/cacher (v1.37).
"""

import asyncio
from collections.abc import AsyncIterator
from functools import lru_cache
from typing import Any

import msgspec

from knarr.api import errors, protobuf
from knarr.api.scheme import Resource
from knarr.apiserver import negotiate, options, responses, selection, views, websockets
from knarr.apiserver.customresources import reading
from knarr.apiserver.errors import too_new, too_old
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.verbs.get import parse_version
from knarr.kit import metrics
from knarr.kit.http.messages import Headers, Response
from knarr.store import backend as backends
from knarr.store import errors as store_errors
from knarr.store import query as queries
from knarr.store import watch as watches

BOOKMARK_S = 60.0
INITIAL_EVENTS_END = "k8s.io/initial-events-end"
_CHUNK_EVENTS = 256
_SHARED_FRAMES = 512
_SHARED_BYTES = 16 * 1024


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with a stream that ends after `timeoutSeconds`, or when the server chooses."""
    form = negotiate.of(call.request, target.resource, negotiate.STREAMED)
    given = options.list_options(call.values, watch=True)
    query = selection.query(target, given.label_selector, given.field_selector)
    limit_s = _time_limit_s(parts, given)
    view = views.of(parts, call, target, form)
    is_framed = form.media_type == negotiate.PROTOBUF
    content_type = protobuf.WATCH_MEDIA_TYPE if is_framed else form.media_type
    fields = [("cache-control", "no-cache, private"), ("content-type", content_type)]
    responses.add_warnings(fields, call)
    level = parts.metrics.long_running(call.info, call.request.method)
    stream = _stream(parts, target.resource, query, given, view, limit_s, level)
    response = Response(200, Headers.from_lower(fields), _framed(stream) if is_framed else stream)
    return websockets.wrap_watch(call.request, response, framed=is_framed)


async def _stream(
    parts: Parts,
    resource: Resource,
    query: queries.Query,
    given: options.ListOptions,
    view: views.View,
    limit_s: float,
    level: metrics.Level,
) -> AsyncIterator[bytes]:
    level.add(1)
    sent = parts.metrics.watch_events.labels(resource.group, resource.version, resource.plural)
    try:
        watch, initial = _open(parts, query, given)
        with watch:
            for first in range(0, len(initial), _CHUNK_EVENTS):
                events = await reading.show_events(parts, resource, initial[first : first + _CHUNK_EVENTS])
                sent.value += len(events)
                yield b"".join([view.event(event) for event in events])
            if given.initial_events and given.bookmarks:
                annotations = {INITIAL_EVENTS_END: "true"}
                yield view.bookmark({"resourceVersion": str(parts.store.revision), "annotations": annotations})
            async for lines in _follow(parts, resource, watch, view, limit_s, bookmarks=given.bookmarks):
                sent.value += lines.count(b"\n")
                yield lines
    except store_errors.Compacted as err:
        yield _error_line(too_old(err))
    except store_errors.FutureRevision as err:
        yield _error_line(too_new(err))
    except errors.StatusError as err:
        yield _error_line(err)
    except store_errors.Closed:
        return
    finally:
        level.add(-1)


def _open(
    parts: Parts, query: queries.Query, given: options.ListOptions
) -> tuple[watches.Watch, list[watches.WatchEvent]]:
    """Start the watch; return it with the events that show the state it starts from, if it starts from one."""
    version = given.resource_version
    wants_state = version in ("", "0") if given.initial_events is None else given.initial_events
    if version not in ("", "0"):
        revision = backends.Revision(parse_version(version))
        if not wants_state and given.initial_events is None:
            return parts.store.watch(query, after=revision), []
        if revision > parts.store.revision:
            raise store_errors.FutureRevision(revision, parts.store.revision)
    page = parts.store.list(query) if wants_state else None
    watch = parts.store.watch(query, after=parts.store.revision)
    entries = page.entries if page is not None else []
    return watch, [watches.WatchEvent(watches.ADDED, e.key, e.value, e.modified) for e in entries]


async def _follow(
    parts: Parts, resource: Resource, watch: watches.Watch, view: views.View, limit_s: float, *, bookmarks: bool
) -> AsyncIterator[bytes]:
    # One timer for the whole watch, not one for each event.
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    timer = loop.call_at(min(end, loop.time() + BOOKMARK_S) if bookmarks else end, watch.nudge)
    try:
        async for batch in watch:
            if batch:
                events = await reading.show_events(parts, resource, batch)
                yield view.event(events[0]) if len(events) == 1 else b"".join([view.event(event) for event in events])
            if not batch or loop.time() >= end:
                if bookmarks and watch.is_caught_up():
                    yield view.bookmark({"resourceVersion": str(parts.store.revision)})
                if loop.time() >= end:
                    return
                timer = loop.call_at(min(end, loop.time() + BOOKMARK_S), watch.nudge)
    finally:
        timer.cancel()


async def _framed(stream: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Turn lines of JSON into protobuf frames."""
    try:
        async for lines in stream:
            yield b"".join([_frame(line) for line in lines.splitlines()])
    finally:
        await stream.aclose()  # type: ignore[attr-defined]


def _frame(line: bytes) -> bytes:
    return _shared_frame(line) if len(line) < _SHARED_BYTES else _shared_frame.__wrapped__(line)


@lru_cache(_SHARED_FRAMES)
def _shared_frame(line: bytes) -> bytes:
    """Turn a line of JSON into a frame, once for all watchers that take it within a short time."""
    event = msgspec.json.decode(line)
    return protobuf.frame(event["type"], protobuf.encode(event["object"]))


def _time_limit_s(parts: Parts, given: options.ListOptions) -> float:
    if given.timeout_s:
        return float(given.timeout_s) if given.timeout_s > 0 else 0.0
    shortest = parts.config.min_watch_timeout_s
    return shortest * (1 + parts.random.random())


def _error_line(err: errors.StatusError) -> bytes:
    status: dict[str, Any] = err.to_status()
    return views.line("ERROR", msgspec.json.encode(status))
