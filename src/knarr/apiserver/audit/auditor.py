"""Begins records and hands their events to the sinks.

Upstream counterpart: k8s.io/apiserver/pkg/endpoints/filters/audit.go and pkg/audit/metrics.go (v1.37).
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import msgspec

from knarr.api.user import User
from knarr.apiserver.audit import policy as policies
from knarr.apiserver.audit.logfile import LogFile
from knarr.apiserver.audit.record import Event, Record
from knarr.apiserver.audit.settings import Settings
from knarr.apiserver.audit.webhook import Lost, Webhook
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit import clock as clocks
from knarr.kit import metrics
from knarr.kit.http.messages import ByteStream, Request, Response

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes events."""

    @property
    def name(self) -> str:
        """In metrics and logs."""

    def write(self, line: bytes) -> None:
        """Take an event as a line of JSON."""


class Auditor:
    """Knows the policy and the sinks.

    Args:
        policy: How much is kept.
        sinks: Where it goes.
        clock: The time.
        registry: Shows what is measured.
    """

    def __init__(
        self, policy: policies.Policy, sinks: Sequence[Sink], clock: clocks.Clock, registry: metrics.Registry
    ) -> None:
        self._policy = policy
        self._sinks = tuple(sinks)
        self._clock = clock
        self._events = registry.counter(
            "apiserver_audit_event_total", "Counter of audit events generated and sent to the audit backend."
        ).labels()
        self._errors = registry.counter(
            "apiserver_audit_error_total",
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
            ("plugin",),
        )
        self._levels = registry.counter(
            "apiserver_audit_level_total", "Counter of policy levels for audit events (1 per request).", ("level",)
        )

    def begin(self, audit_id: str, request: Request, info: RequestInfo, user: User | None) -> Record | None:
        """Begin the record of a request; None if nothing of it is kept."""
        choice = self._policy.choose(user, info)
        self._levels.labels(choice.level).add()
        if choice.level == policies.NONE:
            return None
        return Record(choice, audit_id, request, info, user, self._clock.now, self._send)

    def _send(self, event: Event) -> None:
        self._events.add()
        line = msgspec.json.encode(event) + b"\n"
        for sink in self._sinks:
            try:
                sink.write(line)
            except (OSError, Lost) as err:
                self._errors.labels(sink.name).add()
                logger.error("Error in audit plugin '%s' affecting 1 audit events: %s", sink.name, err)


def build(
    settings: Settings | None, clock: clocks.Clock, registry: metrics.Registry
) -> tuple[Auditor, list[Sink]] | None:
    """Make the auditor that the settings describe, with its sinks; None if nothing is audited.

    Raises:
        BadPolicy: The policy file cannot be used.
        OSError: The log file cannot be opened.
    """
    if settings is None or settings.policy is None:
        return None
    sinks: list[Sink] = []
    if settings.log is not None:
        sinks.append(
            LogFile(
                settings.log,
                clock,
                max_size_mb=settings.log_max_size_mb,
                max_age_days=settings.log_max_age_days,
                max_backups=settings.log_max_backups,
            )
        )
    if settings.webhook is not None:
        sinks.append(Webhook(settings, clock))
    if not sinks:
        return None
    return Auditor(policies.load(settings.policy), sinks, clock, registry), sinks


def finish(record: Record, response: Response, *, long_running: bool) -> None:
    """Tell of the end of a request: now, or when its stream ends."""
    body = response.body
    record.note_response(response.status, response.headers, body if isinstance(body, bytes) else None)
    if long_running:
        record.emit(policies.STARTED)
    if response.upgrade is not None:
        upgrade = response.upgrade

        async def upgraded(stream: ByteStream) -> None:
            try:
                await upgrade(stream)
            finally:
                record.emit(policies.COMPLETE)

        response.upgrade = upgraded
    elif isinstance(body, bytes):
        record.emit(policies.COMPLETE)
    else:
        response.body = _Audited(body, record)


class _Audited:
    """A stream whose end completes its record, even if nobody ever reads it."""

    def __init__(self, body: AsyncIterator[bytes], record: Record) -> None:
        self._body = body
        self._record: Record | None = record

    def __aiter__(self) -> "_Audited":
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._body)
        except BaseException:
            self._complete()
            raise

    async def aclose(self) -> None:
        """Close the stream."""
        aclose = getattr(self._body, "aclose", None)
        if aclose is not None:
            await aclose()
        self._complete()

    def _complete(self) -> None:
        if self._record is not None:
            self._record.emit(policies.COMPLETE)
            self._record = None


def methods_tried(request: Request) -> str:
    """Say which credentials a refused request carried."""
    tried = []
    scheme, _, token = (request.headers.get("authorization") or "").strip().partition(" ")
    if token and scheme.lower() in ("basic", "bearer"):
        tried.append(scheme.lower())
    if request.peer.certificate is not None:
        tried.append("x509")
    listed = ", ".join(tried)
    return f"Authentication failed, attempted: {listed}" if tried else "Authentication failed, no credentials provided"
