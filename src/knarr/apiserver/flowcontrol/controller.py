"""Flow control as the request handler sees it: classify, enter, leave.

Configuration objects take effect in the moment that they are written. Which flow a kind of request belongs to is found out once and
remembered, so that a request that finds a seat pays for a dictionary look-up and some additions.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol/apf_controller.go, apf_filter.go (v1.37).
"""

import asyncio
import hashlib
from typing import Any

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver import options
from knarr.apiserver.flowcontrol import allocation, matching, objects, queues, seats
from knarr.apiserver.flowcontrol.levels import Level, is_usable
from knarr.apiserver.flowcontrol.measures import Measures
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit import clock as clocks
from knarr.kit import metrics
from knarr.kit.http.messages import Headers

Object = dict[str, Any]

ADJUST_S = 10.0
LONGEST_WAIT_S = 60.0
_FLOWS = 8192
"""Kinds of requests remembered."""
_SCHEMA_HEADER = "x-kubernetes-pf-flowschema-uid"
_LEVEL_HEADER = "x-kubernetes-pf-prioritylevel-uid"


class Flow:
    """What requests of one kind have in common."""

    __slots__ = (
        "dispatched", "executing", "executing_seats", "executions", "hand", "level", "schema", "schema_uid", "seats", "waits",
    )  # fmt: skip

    def __init__(self, level: Level, schema: Object, hand: tuple[int, ...], measures: Measures, kind: str) -> None:
        metadata = schema["metadata"]
        self.level, self.hand = level, hand
        self.schema: str = metadata["name"]
        self.schema_uid: str = metadata.get("uid", "")
        names = (level.name, self.schema)
        self.dispatched = measures.dispatched.labels(*names)
        self.executing = measures.executing.labels(*names)
        self.executing_seats = measures.executing_seats.labels(*names)
        self.executions = measures.execution.labels(*names, kind)
        self.seats = measures.seats.labels(*names)
        self.waits = None if level.is_exempt else measures.wait.labels(*names, "true")

    def mark(self, headers: Headers) -> None:
        """Name the schema and the level in the headers of a response: by uid, as their names are nobody's business."""
        headers.add(_SCHEMA_HEADER, self.schema_uid)
        headers.add(_LEVEL_HEADER, self.level.uid)


class FlowControl:
    """Gives requests their turn.

    Args:
        registry: Has the configuration, and says how many objects a list reads.
        clock: The time.
        registry_of_metrics: Shows what is measured.
        total: How many seats the server has; 0 lets everything in.
    """

    def __init__(
        self, registry: Registry, clock: clocks.Clock, registry_of_metrics: metrics.Registry, total: int
    ) -> None:
        self._registry = registry
        self._clock = clock
        self._total = total
        self._measures = Measures(registry_of_metrics)
        self._levels: dict[str, Level] = {}
        self._schemas: list[Object] = []
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self._statuses = asyncio.Event()
        self.digest()
        for resource in (objects.LEVELS, objects.SCHEMAS):
            registry.subscribe(resource, lambda old, new: self.digest())

    def classify(self, user: User, info: RequestInfo) -> Flow:
        """Return the flow of a request."""
        path = info.path if not info.is_resource_request else ""
        key = (user.name, user.groups, info.verb, info.group, info.resource, info.subresource, info.namespace, path)
        flow = self._flows.get(key)
        if flow is None:
            if len(self._flows) >= _FLOWS:
                self._flows.clear()
            flow = self._flows[key] = self._classify(user, info)
        return flow

    async def enter(
        self, flow: Flow, info: RequestInfo, values: options.Values, limit_s: float
    ) -> queues.Ticket | None:
        """Wait for a turn; None means that the request is rejected.

        Args:
            flow: Of the request.
            info: What it asks for.
            values: Its query.
            limit_s: How long the request may take; a quarter of it may be waiting.
        """
        level = flow.level
        wanted = 1
        if info.verb in ("list", "watch"):
            wanted = seats.estimate(self._registry, info, values, level.most_seats)
        now_s = self._clock.monotonic_s()
        ticket = level.queues.start(wanted, flow.hand, now_s)
        flow.seats.observe(wanted)
        if isinstance(ticket, str):
            self._reject(flow, ticket)
            return None
        if ticket.waiting is not None and not await self._wait(flow, ticket, limit_s):
            return None
        if flow.waits is not None:
            flow.waits.observe(ticket.started_s - now_s)
        flow.dispatched.value += 1
        flow.executing.value += 1
        flow.executing_seats.value += wanted
        return ticket

    def leave(self, flow: Flow, ticket: queues.Ticket) -> None:
        """End a request that was let in."""
        now_s = self._clock.monotonic_s()
        flow.executing.value -= 1
        flow.executing_seats.value -= ticket.seats
        flow.executions.observe(now_s - ticket.started_s)
        flow.level.queues.finish(ticket, now_s)

    async def run(self) -> None:
        """Adjust the seats of the levels to the demand, every ten seconds."""
        while True:
            await self._clock.sleep(ADJUST_S)
            self._drop_idle()
            self._adjust()

    async def keep_statuses(self) -> None:
        """Write into each FlowSchema whether its level exists, whenever something changes."""
        while True:
            await self._statuses.wait()
            self._statuses.clear()
            names = {one["metadata"]["name"] for one in self._registry.list(objects.LEVELS) if is_usable(one)}
            for schema in self._registry.list(objects.SCHEMAS):
                changed = plan_status(schema, names, f"{self._clock.now().isoformat()[:19]}Z")
                if changed is None:
                    continue
                try:
                    await self._registry.update(objects.SCHEMAS, changed)
                except (errors.Conflict, errors.NotFound):
                    self._statuses.set()

    def digest(self) -> None:
        """Take over the configuration as it is stored; what is mandatory and missing is imagined."""
        now_s = self._clock.monotonic_s()
        configured = {one["metadata"]["name"]: one for one in self._registry.list(objects.LEVELS) if is_usable(one)}
        for mandatory in objects.MANDATORY_LEVELS:
            configured.setdefault(mandatory["metadata"]["name"], mandatory)
        for name, level in self._levels.items():
            level.is_wanted = name in configured
        for name, obj in configured.items():
            if name in self._levels:
                self._levels[name].adopt(obj)
            else:
                self._levels[name] = Level(obj, now_s)
        stored = self._registry.list(objects.SCHEMAS)
        schemas = {one["metadata"]["name"]: one for one in stored if _level_of(one) in configured}
        for mandatory in objects.MANDATORY_SCHEMAS:
            schemas.setdefault(mandatory["metadata"]["name"], mandatory)
        self._schemas = matching.in_order(schemas.values())
        self._flows.clear()
        self._drop_idle()
        shares = sum(level.shares for level in self._levels.values())
        for level in self._levels.values():
            level.limit(self._total, shares)
        self._adjust()
        self._statuses.set()

    def levels(self) -> list[Level]:
        """Return the priority levels, by name."""
        return [self._levels[name] for name in sorted(self._levels)]

    def _classify(self, user: User, info: RequestInfo) -> Flow:
        schema = matching.find(self._schemas, user, info) or objects.MANDATORY_SCHEMAS[-1]
        level = self._levels[_level_of(schema)]
        method = (schema["spec"].get("distinguisherMethod") or {}).get("type", "")
        distinguisher = {objects.BY_USER: user.name, objects.BY_NAMESPACE: info.namespace}.get(method, "")
        hand: tuple[int, ...] = ()
        if level.queuing.queues > 0:
            flow_id = f"{schema['metadata']['name']}\0{distinguisher}".encode("utf-8", "surrogateescape")
            entropy = int.from_bytes(hashlib.sha256(flow_id).digest()[:8], "little")
            hand = queues.deal(entropy, level.queuing.queues, min(level.queuing.hand_size, level.queuing.queues))
        return Flow(level, schema, hand, self._measures, "watch" if info.verb == "watch" else "regular")

    async def _wait(self, flow: Flow, ticket: queues.Ticket, limit_s: float) -> bool:
        assert ticket.waiting is not None
        names = (flow.level.name, flow.schema)
        waiting = (self._measures.in_queue.labels(*names), self._measures.in_queue_seats.labels(*names))
        assert ticket.queue is not None
        self._measures.queue_length.labels(*names).observe(len(ticket.queue.tickets))
        waiting[0].value += 1
        waiting[1].value += ticket.seats
        started_s = self._clock.monotonic_s()
        try:
            async with asyncio.timeout(min(limit_s / 4, LONGEST_WAIT_S)):
                await ticket.waiting
            return True
        except TimeoutError:
            now_s = self._clock.monotonic_s()
            if not flow.level.queues.leave(ticket, now_s):
                return True  # its turn came in the same moment
            self._measures.wait.labels(*names, "false").observe(now_s - started_s)
            self._reject(flow, queues.TIME_OUT)
            return False
        except asyncio.CancelledError:
            now_s = self._clock.monotonic_s()
            if not flow.level.queues.leave(ticket, now_s):
                flow.level.queues.finish(ticket, now_s)
            raise
        finally:
            waiting[0].value -= 1
            waiting[1].value -= ticket.seats

    def _reject(self, flow: Flow, reason: str) -> None:
        self._measures.rejected.labels(flow.level.name, flow.schema, reason).add()
        flow.level.retry.note(int(self._clock.now().timestamp()))

    def _drop_idle(self) -> None:
        idle = [name for name, level in self._levels.items() if not level.is_wanted and level.queues.is_idle]
        for name in idle:
            del self._levels[name]

    def _adjust(self) -> None:
        now_s = self._clock.monotonic_s()
        for level in self._levels.values():
            level.demand = level.demand.after(*level.queues.demand.reset(now_s))
        limits = {name: level.limits for name, level in self._levels.items()}
        demands = {name: level.demand for name, level in self._levels.items()}
        exempt = {name for name, level in self._levels.items() if level.is_exempt}
        current, fair = allocation.adjust(limits, demands, exempt)
        for name, level in self._levels.items():
            level.current = current[name]
            level.queues.configure(level.queuing, level.current if self._total else _NO_LIMIT, now_s)
            self._show(level)
        self._measures.fair_fraction.labels().set(fair)

    def _show(self, level: Level) -> None:
        show, name, demand = self._measures, level.name, level.demand
        show.nominal.labels(name).set(level.limits.nominal)
        show.lower.labels(name).set(level.limits.lowest)
        show.upper.labels(name).set(level.limits.highest)
        show.current.labels(name).set(level.current)
        show.demand_peak.labels(name).set(demand.peak)
        show.demand_average.labels(name).set(demand.average)
        show.demand_deviation.labels(name).set(demand.deviation)
        show.demand_smoothed.labels(name).set(demand.smoothed)


_NO_LIMIT = 1_000_000_000


def plan_status(schema: Object, levels: set[str], now: str) -> Object | None:
    """Return a FlowSchema with the condition Dangling as it should be, or None if it is.

    Args:
        schema: As stored.
        levels: The names of the priority levels that exist.
        now: The time, as the API writes it.
    """
    level = _level_of(schema)
    words = f'This FlowSchema references the PriorityLevelConfiguration object named "{level}" '
    is_found = level in levels
    wanted = {
        "type": "Dangling",
        "status": "False" if is_found else "True",
        "reason": "Found" if is_found else "NotFound",
        "message": words + ("and it exists" if is_found else "but there is no such object"),
    }
    conditions = (schema.get("status") or {}).get("conditions") or []
    for one in conditions:
        if one.get("type") == "Dangling" and all(one.get(key) == value for key, value in wanted.items()):
            return None
    others = [one for one in conditions if one.get("type") != "Dangling"]
    return {**schema, "status": {"conditions": [*others, {**wanted, "lastTransitionTime": now}]}}


def _level_of(schema: Object) -> str:
    name: str = schema["spec"]["priorityLevelConfiguration"]["name"]
    return name
