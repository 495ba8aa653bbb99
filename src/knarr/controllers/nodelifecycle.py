"""Nodes that stop reporting: their conditions become Unknown, they get taints, their pods are marked not ready.

What it observes: a Node, its Lease in kube-node-lease, and when either last changed as seen from here (so that clocks of
nodes do not matter). The taints with effect NoExecute are acted on by `tainteviction`.

Upstream counterpart: pkg/controller/nodelifecycle.
"""

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto

from lightkube.models import coordination_v1, core_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import PatchType
from knarr.control import Context, informer, loop
from knarr.controllers import pods as podinfo
from knarr.controllers.nodezones import Pace, Zones, is_ready, zone_of

GRACE_S = 50.0
"""How long a node may be silent. Source: kube-controller-manager --node-monitor-grace-period."""
MONITOR_PERIOD_S = 5.0
LEASES = "kube-node-lease"
STARTUP_GRACE_S = 60.0
"""The same for a node that has never reported."""
NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
UNSCHEDULABLE = "node.kubernetes.io/unschedulable"

_TAINT_BY_CONDITION = {
    ("Ready", "False"): NOT_READY,
    ("Ready", "Unknown"): UNREACHABLE,
    ("MemoryPressure", "True"): "node.kubernetes.io/memory-pressure",
    ("DiskPressure", "True"): "node.kubernetes.io/disk-pressure",
    ("PIDPressure", "True"): "node.kubernetes.io/pid-pressure",
    ("NetworkUnavailable", "True"): "node.kubernetes.io/network-unavailable",
}
_OWNED = {*_TAINT_BY_CONDITION.values(), UNSCHEDULABLE}
_MONITORED = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_NEVER_REPORTED = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
_STOPPED_REPORTING = ("NodeStatusUnknown", "Kubelet stopped posting node status.")


class Eviction(Enum):
    """What becomes of the NoExecute taint of a node that is not ready.

    Attributes:
        BEGIN: It is put on.
        HOLD: What stands stays.
        WITHDRAW: It is taken off: everything is down, and that is rather the fault of this side.
    """

    BEGIN = auto()
    HOLD = auto()
    WITHDRAW = auto()


@dataclass(frozen=True, slots=True)
class Silence:
    """How long a node has been silent.

    Attributes:
        seconds: Since its status or Lease last changed as seen from here.
        ever_reported: Whether it has ever posted its own Ready condition.
    """

    seconds: float
    ever_reported: bool

    @property
    def is_too_long(self) -> bool:
        """Whether the grace period is over."""
        return self.seconds > (GRACE_S if self.ever_reported else STARTUP_GRACE_S)


def conditions(node: core_v1.Node, silence: Silence, now: datetime) -> list[core_v1.NodeCondition]:
    """Return the conditions that a node should have: its own while it reports, Unknown ones after."""
    current = list((node.status.conditions or ()) if node.status else ())
    if not silence.is_too_long:
        return current
    by_type = {condition.type: condition for condition in current}
    stamp = now.replace(microsecond=0)
    for kind in _MONITORED:
        condition = by_type.get(kind)
        if condition is None:
            reason, message = _NEVER_REPORTED
            created = node.metadata.creationTimestamp if node.metadata else None
            by_type[kind] = core_v1.NodeCondition(
                type=kind, status="Unknown", reason=reason, message=message,
                lastHeartbeatTime=created, lastTransitionTime=stamp,
            )  # fmt: skip
        elif condition.status != "Unknown":
            reason, message = _STOPPED_REPORTING
            by_type[kind] = replace(
                condition, status="Unknown", reason=reason, message=message, lastTransitionTime=stamp
            )
    return list(by_type.values())


def taints(node: core_v1.Node, now: datetime, *, eviction: Eviction) -> list[core_v1.Taint]:
    """Return the taints that a node should have: others' kept, ours as its conditions say.

    NoSchedule follows every bad condition; NoExecute only not-ready and unreachable, with the time it began.

    Args:
        node: As last seen.
        now: The wall time.
        eviction: What becomes of NoExecute.
    """
    assert node.spec
    current = node.spec.taints or []
    kept = [taint for taint in current if not _is_owned(taint)]
    wanted: list[core_v1.Taint] = []
    evicted = any(taint.effect == "NoExecute" and _is_owned(taint) for taint in current)
    evicts = eviction is Eviction.BEGIN or (eviction is Eviction.HOLD and evicted)
    for condition in (node.status.conditions or ()) if node.status else ():
        key = _TAINT_BY_CONDITION.get((condition.type, condition.status))
        if key is None:
            continue
        wanted.append(core_v1.Taint(key=key, effect="NoSchedule"))
        if condition.type == "Ready" and evicts:
            wanted.append(core_v1.Taint(key=key, effect="NoExecute"))
    if node.spec.unschedulable:
        wanted.append(core_v1.Taint(key=UNSCHEDULABLE, effect="NoSchedule"))
    standing = {(taint.key, taint.effect): taint for taint in current}
    stamp = now.replace(microsecond=0)
    return kept + [standing.get((taint.key, taint.effect)) or replace(taint, timeAdded=stamp) for taint in wanted]


def is_same_taints(left: Sequence[core_v1.Taint] | None, right: Sequence[core_v1.Taint] | None) -> bool:
    """Compare taints without regard to order."""

    def keys(taints: Sequence[core_v1.Taint] | None) -> set[tuple[str, str, str]]:
        return {(taint.key, taint.effect, taint.value or "") for taint in taints or ()}

    return keys(left) == keys(right)


@dataclass(slots=True)
class _Seen:
    heartbeat: datetime | None
    renewed: datetime | None
    at_s: float
    was_ready: bool


class Monitor:
    """Watches over nodes: writes conditions of silent ones, taints, and pods' Ready conditions.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._nodes = context.informers.of(core_v1.Node)
        self._leases = context.informers.of(coordination_v1.Lease, namespace=LEASES)
        self._pods = context.informers.of(core_v1.Pod)
        self._pods.add_index(podinfo.NODE_INDEX, podinfo.by_node)
        self._seen: dict[str, _Seen] = {}
        self._pace = Pace()
        self._zones = Zones()

    async def run(self) -> None:
        """Look at all nodes every few seconds."""
        while True:
            for node in self._nodes.list():
                await self._look(node)
            known = {informer.key_of(node)[1] for node in self._nodes.list()}
            for gone in self._seen.keys() - known:
                del self._seen[gone]
            await self._clock.sleep(MONITOR_PERIOD_S)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Give a node the taints that it should have."""
        node = self._nodes.get("", request.name)
        if node is None or node.spec is None or (node.metadata and node.metadata.deletionTimestamp):
            return loop.Result()
        eviction, again_s = self._choose_eviction(node)
        wanted = taints(node, self._clock.now(), eviction=eviction)
        if not is_same_taints(wanted, node.spec.taints):
            version = node.metadata.resourceVersion if node.metadata else None
            body = {"metadata": {"resourceVersion": version}, "spec": {"taints": wanted or None}}
            with contextlib.suppress(errors.NotFound):
                await self._client.patch(core_v1.Node, request.name, body, PatchType.MERGE)
        return loop.Result(requeue_after_s=again_s)

    def _choose_eviction(self, node: core_v1.Node) -> tuple[Eviction, float | None]:
        """Return what becomes of a node's NoExecute taint, and when that may be otherwise."""
        if is_ready(node):
            return Eviction.BEGIN, None
        zone = zone_of(node)
        rate = self._zones.rate(zone)
        if rate is None:
            return Eviction.WITHDRAW, None
        assert node.spec
        if any(taint.effect == "NoExecute" and _is_owned(taint) for taint in node.spec.taints or ()):
            return Eviction.BEGIN, None  # begun already: the key follows the condition
        if not rate:
            return Eviction.HOLD, None
        wait_s = self._pace.wait_s(zone, rate, self._clock.monotonic_s())
        return (Eviction.HOLD, wait_s) if wait_s else (Eviction.BEGIN, None)

    def requests_of_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        """Name the node; with it all that are not ready when it changes how fast nodes may be evicted from."""
        name = informer.key_of(new if new is not None else old)[1]
        found = [] if new is None else [*loop.itself(new)]
        if self._zones.note(name, new):
            unready = [node for node in self._nodes.list() if not is_ready(node)]
            found += [request for node in unready for request in loop.itself(node)]
        return found

    async def _look(self, node: core_v1.Node) -> None:
        name = informer.key_of(node)[1]
        seen = self._observe(name, node)
        ready = _ready(node)
        ever = ready is not None and ready.reason not in {_NEVER_REPORTED[0]}
        silence = Silence(self._clock.monotonic_s() - seen.at_s, ever_reported=ever)
        wanted = conditions(node, silence, self._clock.now())
        try:
            if node.status is None or wanted != (node.status.conditions or []):
                status = node.status or core_v1.NodeStatus()
                told = replace(node, status=replace(status, conditions=wanted))
                node = await self._client.update(told, subresource="status")
            if seen.was_ready and not is_ready(node):
                text = f"Node {name} status is now: NodeNotReady"
                self._recorder.normal(node, "NodeNotReady", text)
            if not is_ready(node):
                await self._mark_pods(name)
        except (errors.Conflict, errors.NotFound):
            return  # the next look sees what came between
        seen.was_ready = is_ready(node)

    def _observe(self, name: str, node: core_v1.Node) -> _Seen:
        ready = _ready(node)
        heartbeat = ready.lastHeartbeatTime if ready is not None else None
        lease = self._leases.get(LEASES, name)
        renewed = lease.spec.renewTime if lease is not None and lease.spec is not None else None
        seen = self._seen.get(name)
        if seen is None:
            seen = self._seen[name] = _Seen(heartbeat, renewed, self._clock.monotonic_s(), is_ready(node))
        elif (seen.heartbeat, seen.renewed) != (heartbeat, renewed):
            seen.heartbeat, seen.renewed, seen.at_s = heartbeat, renewed, self._clock.monotonic_s()
        return seen

    async def _mark_pods(self, node: str) -> None:
        """Say of a silent node's pods that they are not ready: nobody else can, and Services must leave them out."""
        for pod in self._pods.by_index(podinfo.NODE_INDEX, node):
            ready = podinfo.condition(pod, "Ready")
            if ready is None or ready.status != "True":
                continue
            fresh = replace(ready, status="False", lastTransitionTime=self._clock.now().replace(microsecond=0))
            namespace, name = informer.key_of(pod)
            with contextlib.suppress(errors.NotFound):
                await self._client.patch(
                    core_v1.Pod,
                    name,
                    {"status": {"conditions": [fresh]}},
                    PatchType.STRATEGIC,
                    namespace=namespace,
                    subresource="status",
                )
            self._recorder.warning(pod, "NodeNotReady", "Node is not ready")


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    monitor = Monitor(context)
    controller = loop.Controller("node-lifecycle", monitor, context)
    controller.watch_changes(core_v1.Node, monitor.requests_of_node)
    controller.beside(monitor.run)
    return controller


def _ready(node: core_v1.Node) -> core_v1.NodeCondition | None:
    conditions = (node.status.conditions or ()) if node.status else ()
    return next((one for one in conditions if one.type == "Ready"), None)


def _is_owned(taint: core_v1.Taint) -> bool:
    if taint.effect == "NoSchedule":
        return taint.key in _OWNED
    return taint.effect == "NoExecute" and taint.key in {NOT_READY, UNREACHABLE}
