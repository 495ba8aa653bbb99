"""Nodes that stop reporting: their conditions become Unknown, they get taints, their pods are marked not ready.

What it observes: a Node, its Lease in kube-node-lease, and when either last changed as seen from here (so that clocks of
nodes do not matter). The taints with effect NoExecute are acted on by `tainteviction`.

Upstream counterpart: pkg/controller/nodelifecycle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import core_v1
from msgspec.structs import replace

GRACE_S = 50.0
"""How long a node may be silent. Source: kube-controller-manager --node-monitor-grace-period."""
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


def taints(node: core_v1.Node, now: datetime) -> list[core_v1.Taint]:
    """Return the taints that a node should have: others' kept, ours as its conditions say.

    NoSchedule follows every bad condition; NoExecute only not-ready and unreachable, with the time it began.
    """
    assert node.spec
    current = node.spec.taints or []
    kept = [taint for taint in current if taint.key not in _OWNED or taint.effect == "PreferNoSchedule"]
    wanted: list[core_v1.Taint] = []
    for condition in (node.status.conditions or ()) if node.status else ():
        key = _TAINT_BY_CONDITION.get((condition.type, condition.status))
        if key is None:
            continue
        wanted.append(core_v1.Taint(key=key, effect="NoSchedule"))
        if condition.type == "Ready":
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
