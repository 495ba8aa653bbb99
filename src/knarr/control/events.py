"""Events: what components tell people about objects, with repetitions counted and floods held back.

`Recorder.event` returns at once; writing happens beside, and what cannot be written is dropped: events are for people, nothing depends
on them. Equal events become one with a count; many that differ only in their words become one "(combined from similar events)"; an object
that causes more than 25 at once and one in five minutes after is not told of further.

Source: k8s.io/client-go/tools/record (event.go, events_cache.go; v1.37).
"""

import asyncio
import contextlib
import logging
import socket
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any

from lightkube.models import core_v1, meta_v1

from knarr.api import errors
from knarr.client import Client, PatchType, kinds
from knarr.kit.clock import Clock, SystemClock

NORMAL = "Normal"
WARNING = "Warning"

QUEUE_LIMIT = 1000
CACHE_LIMIT = 4096
SIMILAR_LIMIT = 10
SIMILAR_WINDOW_S = 600.0
SPAM_BURST = 25
SPAM_REFILL_PER_S = 1 / 300
MESSAGE_LIMIT = 1024
COMBINED = "(combined from similar events): "
CLOSE_TIMEOUT_S = 2.0
_NOBODY = core_v1.ObjectReference()

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Similar:
    messages: set[str] = field(default_factory=set)
    last_s: float = 0.0


@dataclass(slots=True)
class _Tokens:
    left: float
    at_s: float


class Correlator:
    """Decides what becomes of an event: written anew, counted onto one that exists, or held back.

    Args:
        clock: Times windows.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._written: OrderedDict[tuple[str, ...], core_v1.Event] = OrderedDict()
        self._similar: OrderedDict[tuple[str, ...], _Similar] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, ...], _Tokens] = OrderedDict()

    def correlate(self, event: core_v1.Event) -> tuple[core_v1.Event, core_v1.Event | None] | None:
        """Return the event as it should be written and, if it repeats one, that one as it was written last; None holds it back."""
        now = self._clock.monotonic_s()
        if not self._take_token(_object_key(event), now):
            return None
        message, combined = self._combine(event, now)
        event.message = message
        known = self._written.get(_event_key(event, "" if combined else message))
        if known is None:
            return event, None
        event.metadata.name = known.metadata.name
        event.metadata.resourceVersion = known.metadata.resourceVersion
        event.firstTimestamp = known.firstTimestamp
        event.count = (known.count or 1) + 1
        return event, known

    def remember(self, event: core_v1.Event) -> None:
        """Take in an event as the server stored it."""
        message = event.message or ""
        key = _event_key(event, "" if message.startswith(COMBINED) else message)
        _keep(self._written, key, _slim(event))

    def _combine(self, event: core_v1.Event, now: float) -> tuple[str, bool]:
        key = _event_key(event, "")
        similar = self._similar.get(key)
        if similar is None or now - similar.last_s > SIMILAR_WINDOW_S:
            similar = _Similar()
        similar.last_s = now
        message = event.message or ""
        similar.messages.add(message)
        _keep(self._similar, key, similar)
        if len(similar.messages) < SIMILAR_LIMIT:
            return message, False
        similar.messages.pop()
        return (COMBINED + message)[:MESSAGE_LIMIT], True

    def _take_token(self, key: tuple[str, ...], now: float) -> bool:
        tokens = self._tokens.get(key)
        if tokens is None:
            tokens = _Tokens(SPAM_BURST, now)
        tokens.left = min(SPAM_BURST, tokens.left + (now - tokens.at_s) * SPAM_REFILL_PER_S)
        tokens.at_s = now
        _keep(self._tokens, key, tokens)
        if tokens.left < 1:
            return False
        tokens.left -= 1
        return True


class Recorder:
    """Writes events in the name of a component.

    Args:
        client: Writes them.
        component: Who tells, such as "deployment-controller".
        clock: Stamps them.
        host: On which node, for node agents; empty for others.
    """

    def __init__(self, client: Client, component: str, *, clock: Clock | None = None, host: str = "") -> None:
        self._client = client
        self._component = component
        self._clock = clock or SystemClock()
        self._host = host
        self._instance = host or f"{component}-{socket.gethostname()}"
        self._correlator = Correlator(self._clock)
        self._waiting: deque[core_v1.Event] = deque(maxlen=QUEUE_LIMIT)
        self._task: asyncio.Task[None] | None = None
        self._last_ns = 0

    def event(
        self,
        about: Any,
        type_: str,
        reason: str,
        message: str,
        *,
        action: str = "",
        field_path: str = "",
        annotations: dict[str, str] | None = None,
    ) -> None:
        """Tell something about an object.

        Args:
            about: The object, or a `core_v1.ObjectReference`.
            type_: NORMAL or WARNING.
            reason: One word in CamelCase, such as "Scheduled".
            message: For people.
            action: What was tried, one word; mostly empty.
            field_path: Which part, such as "spec.containers{web}".
            annotations: Of the event.
        """
        reference = about if isinstance(about, core_v1.ObjectReference) else reference_to(about, field_path=field_path)
        now = self._clock.now()
        # Upstream names events after the nanosecond; ours must differ even where the clock does not.
        self._last_ns = max(self._last_ns + 1, int(now.timestamp() * 1e9))
        name = f"{reference.name}.{self._last_ns:x}"
        stamp = now.replace(microsecond=0)
        self._waiting.append(
            core_v1.Event(
                metadata=meta_v1.ObjectMeta(
                    name=name, namespace=reference.namespace or "default", annotations=annotations
                ),
                involvedObject=reference,
                type=type_,
                reason=reason,
                message=message[:MESSAGE_LIMIT],
                action=action or None,
                source=core_v1.EventSource(component=self._component, host=self._host or None),
                reportingComponent=self._component,
                reportingInstance=self._instance if self._host else "",
                firstTimestamp=stamp,
                lastTimestamp=stamp,
                count=1,
            )
        )
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._drain(), name=f"{self._component} events")

    def normal(self, about: Any, reason: str, message: str) -> None:
        """Tell something that is as it should be."""
        self.event(about, NORMAL, reason, message)

    def warning(self, about: Any, reason: str, message: str) -> None:
        """Tell something that is wrong."""
        self.event(about, WARNING, reason, message)

    async def aclose(self) -> None:
        """Write what waits, but not for long."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._task, CLOSE_TIMEOUT_S)

    async def _drain(self) -> None:
        while self._waiting:
            decided = self._correlator.correlate(self._waiting.popleft())
            if decided is None:
                continue
            try:
                self._correlator.remember(await self._write(*decided))
            except errors.StatusError as err:
                # Not stored: in a namespace that is going, or the server is away. Events are best effort.
                logger.debug("event %s: %s", decided[0].reason, err)

    async def _write(self, event: core_v1.Event, known: core_v1.Event | None) -> core_v1.Event:
        if known is not None:
            body = {"count": event.count, "lastTimestamp": event.lastTimestamp, "message": event.message}
            name, namespace = event.metadata.name or "", event.metadata.namespace or ""
            try:
                return await self._client.patch(core_v1.Event, name, body, PatchType.STRATEGIC, namespace=namespace)
            except errors.NotFound:
                event.metadata.resourceVersion = None  # it has expired: begin anew
        return await self._client.create(event)


def reference_to(obj: Any, *, field_path: str = "") -> core_v1.ObjectReference:
    """Return a reference to an object for events about it."""
    api_version, kind = kinds.gvk(type(obj))
    meta = obj.metadata
    return core_v1.ObjectReference(
        apiVersion=api_version,
        kind=kind,
        name=meta.name,
        namespace=meta.namespace,
        uid=meta.uid,
        resourceVersion=meta.resourceVersion,
        fieldPath=field_path or None,
    )


def _object_key(event: core_v1.Event) -> tuple[str, ...]:
    about = event.involvedObject
    host = (event.source.host or "") if event.source else ""
    return (host, about.kind or "", about.namespace or "", about.name or "", about.uid or "", about.apiVersion or "")


def _event_key(event: core_v1.Event, message: str) -> tuple[str, ...]:
    path = event.involvedObject.fieldPath or ""
    return (*_object_key(event), path, event.type or "", event.reason or "", message)


def _slim(event: core_v1.Event) -> core_v1.Event:
    """Return of a written event what its repetitions need: thousands are kept."""
    meta = event.metadata
    return core_v1.Event(
        metadata=meta_v1.ObjectMeta(name=meta.name, resourceVersion=meta.resourceVersion),
        involvedObject=_NOBODY,
        firstTimestamp=event.firstTimestamp,
        count=event.count,
    )


def _keep(cache: "OrderedDict[tuple[str, ...], Any]", key: tuple[str, ...], value: Any) -> None:
    cache[key] = value
    cache.move_to_end(key)
    if len(cache) > CACHE_LIMIT:
        cache.popitem(last=False)
