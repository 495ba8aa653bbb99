"""Rows of pods: how far they are, what holds them up, how often they were restarted.

Source: printPod in pkg/printers/internalversion/printers.go (v1.37).
"""

from datetime import datetime

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns

_COMPLETED = {
    "Succeeded": ("Succeeded", "The pod has completed successfully."),
    "Failed": ("Failed", "The pod failed."),
}


def _conditions(pod: Object) -> list[dict[str, str]]:
    found = _COMPLETED.get(cells.text(pod, "status", "phase"))
    if found is None:
        return []
    return [{"type": "Completed", "status": "True", "reason": found[0], "message": found[1]}]


class _Restarts:
    """How often containers were restarted, and when last."""

    def __init__(self) -> None:
        self.count = 0
        self.last: datetime | None = None

    def add(self, status: Object) -> None:
        self.count += cells.number(status, "restartCount")
        moment = cells.parse_time(cells.part(status, "lastState", "terminated", "finishedAt"))
        if moment is not None and (self.last is None or moment > self.last):
            self.last = moment

    def format(self, now: datetime) -> str:
        if self.count and self.last is not None:
            return f"{self.count} ({cells.human_duration((now - self.last).total_seconds())} ago)"
        return str(self.count)


def _is_restartable(container: Object) -> bool:
    return container.get("restartPolicy") == "Always"


def _has_condition(pod: Object, kind: str) -> bool:
    return any(
        condition.get("type") == kind and condition.get("status") == "True"
        for condition in cells.items(pod, "status", "conditions")
    )


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{cells.number(terminated, 'exitCode')}"


class _Summary:
    """What is said of a pod's containers together."""

    def __init__(self, pod: Object) -> None:
        self.pod = pod
        self.init = {one.get("name"): one for one in cells.items(pod, "spec", "initContainers")}
        self.total = len(cells.items(pod, "spec", "containers"))
        self.total += sum(_is_restartable(one) for one in self.init.values())
        self.ready = 0
        self.restarts = _Restarts()
        self.reason = cells.text(pod, "status", "reason") or cells.text(pod, "status", "phase")
        for condition in cells.items(pod, "status", "conditions"):
            if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
                self.reason = "SchedulingGated"
        sidecars = _Restarts()
        is_initializing = self._look_at_init_containers(sidecars)
        if not is_initializing or _has_condition(pod, "Initialized"):
            self.restarts = sidecars
            self._look_at_containers()
        self._look_at_deletion()

    def _look_at_init_containers(self, sidecars: _Restarts) -> bool:
        for index, status in enumerate(cells.items(self.pod, "status", "initContainerStatuses")):
            is_sidecar = _is_restartable(self.init.get(status.get("name")) or {})
            self.restarts.add(status)
            if is_sidecar:
                sidecars.add(status)
            terminated = cells.part(status, "state", "terminated")
            if terminated and not terminated.get("exitCode"):
                continue
            if is_sidecar and status.get("started"):
                self.ready += bool(status.get("ready"))
                continue
            waiting = cells.text(status, "state", "waiting", "reason")
            if terminated:
                self.reason = f"Init:{_ended(terminated)}"
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{index}/{len(self.init)}"
            return True
        return False

    def _look_at_containers(self) -> None:
        has_running = False
        for status in reversed(cells.items(self.pod, "status", "containerStatuses")):
            self.restarts.add(status)
            state = cells.part(status, "state")
            if cells.text(state, "waiting", "reason"):
                self.reason = cells.text(state, "waiting", "reason")
            elif state.get("terminated") is not None:
                self.reason = _ended(state["terminated"])
            elif status.get("ready") and state.get("running") is not None:
                has_running = True
                self.ready += 1
        if self.reason == "Completed" and has_running:
            self.reason = "Running" if _has_condition(self.pod, "Ready") else "NotReady"

    def _look_at_deletion(self) -> None:
        if not cells.part(self.pod, "metadata", "deletionTimestamp"):
            return
        if cells.text(self.pod, "status", "reason") == "NodeLost":
            self.reason = "Unknown"
        elif cells.text(self.pod, "status", "phase") not in _COMPLETED:
            self.reason = "Terminating"


def _ip(pod: Object) -> str:
    addresses = cells.items(pod, "status", "podIPs")
    first = cells.text(addresses[0], "ip") if addresses else ""
    return first or cells.text(pod, "status", "podIP", absent=cells.NONE)


def _readiness_gates(pod: Object) -> str:
    gates = cells.items(pod, "spec", "readinessGates")
    if not gates:
        return cells.NONE
    return f"{sum(_has_condition(pod, gate.get('conditionType') or '') for gate in gates)}/{len(gates)}"


def _cells(pod: Object, now: datetime) -> Cells:
    summary = _Summary(pod)
    return [
        cells.name(pod),
        f"{summary.ready}/{summary.total}",
        summary.reason,
        summary.restarts.format(now),
        cells.age(pod, now),
        _ip(pod),
        cells.text(pod, "spec", "nodeName", absent=cells.NONE),
        cells.text(pod, "status", "nominatedNodeName", absent=cells.NONE),
        _readiness_gates(pod),
    ]


def _template_cells(obj: Object, now: datetime) -> Cells:
    template = cells.part(obj, "template")
    return [cells.name(obj), *cells.containers(template), cells.label_map(cells.part(template, "metadata", "labels"))]


POD = Printer(
    columns("Name Ready Status Restarts Age | IP Node Nominated_Node Readiness_Gates"), _cells, None, _conditions
)
POD_TEMPLATE = Printer(columns("Name Containers Images Pod_Labels"), _template_cells)
