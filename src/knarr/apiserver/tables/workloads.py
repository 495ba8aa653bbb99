"""Rows of controllers of pods: how many there should be, are, and are ready.

Source: pkg/printers/internalversion/printers.go (v1.37).
"""

from datetime import datetime

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns


def _template(obj: Object) -> tuple[str, str]:
    return cells.containers(cells.part(obj, "spec", "template"))


def _deployment(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        f"{cells.number(obj, 'status', 'readyReplicas')}/{cells.number(obj, 'spec', 'replicas')}",
        cells.number(obj, "status", "updatedReplicas"),
        cells.number(obj, "status", "availableReplicas"),
        cells.age(obj, now),
        *_template(obj),
        cells.selector(cells.part(obj, "spec", "selector"), ""),
    ]


def _replicas(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        cells.number(obj, "spec", "replicas"),
        cells.number(obj, "status", "replicas"),
        cells.number(obj, "status", "readyReplicas"),
        cells.age(obj, now),
        *_template(obj),
    ]


def _replica_set(obj: Object, now: datetime) -> Cells:
    return [*_replicas(obj, now), cells.selector(cells.part(obj, "spec", "selector"))]


def _replication_controller(obj: Object, now: datetime) -> Cells:
    return [*_replicas(obj, now), cells.label_map(cells.part(obj, "spec", "selector"))]


def _daemon_set(obj: Object, now: datetime) -> Cells:
    counts = (
        "desiredNumberScheduled", "currentNumberScheduled", "numberReady", "updatedNumberScheduled", "numberAvailable",
    )  # fmt: skip
    return [
        cells.name(obj),
        *(cells.number(obj, "status", count) for count in counts),
        cells.label_map(cells.part(obj, "spec", "template", "spec", "nodeSelector")),
        cells.age(obj, now),
        *_template(obj),
        cells.selector(cells.part(obj, "spec", "selector")),
    ]


def _stateful_set(obj: Object, now: datetime) -> Cells:
    ready = f"{cells.number(obj, 'status', 'readyReplicas')}/{cells.number(obj, 'spec', 'replicas')}"
    return [cells.name(obj), ready, cells.age(obj, now), *_template(obj)]


_JOB_STATES = ("Complete", "Failed", "Terminating", "Suspended", "FailureTarget", "SuccessCriteriaMet")


def _job_state(job: Object) -> str:
    found = {
        condition.get("type")
        for condition in cells.items(job, "status", "conditions")
        if condition.get("status") == "True"
    }
    if cells.part(job, "metadata", "deletionTimestamp"):
        found.add("Terminating")
    return next((state for state in _JOB_STATES if state in found), "Running")


def _job_completions(job: Object) -> str:
    succeeded, spec = cells.number(job, "status", "succeeded"), cells.part(job, "spec")
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    parallelism = cells.number(job, "spec", "parallelism")
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job(job: Object, now: datetime) -> Cells:
    start = cells.parse_time(cells.part(job, "status", "startTime"))
    end = cells.parse_time(cells.part(job, "status", "completionTime")) or now
    return [
        cells.name(job),
        _job_state(job),
        _job_completions(job),
        "" if start is None else cells.human_duration((end - start).total_seconds()),
        cells.age(job, now),
        *_template(job),
        cells.selector(cells.part(job, "spec", "selector")),
    ]


def _cron_job(obj: Object, now: datetime) -> Cells:
    job = cells.part(obj, "spec", "jobTemplate")
    last = cells.part(obj, "status", "lastScheduleTime")
    return [
        cells.name(obj),
        cells.text(obj, "spec", "schedule"),
        cells.text(obj, "spec", "timeZone", absent=cells.NONE),
        cells.boolean(cells.part(obj, "spec", "suspend")),
        len(cells.items(obj, "status", "active")),
        cells.since(last, now) if last else cells.NONE,
        cells.age(obj, now),
        *_template(job),
        cells.selector(cells.part(job, "spec", "selector")),
    ]


def _controller_revision(obj: Object, now: datetime) -> Cells:
    controller = cells.NONE
    for reference in cells.items(obj, "metadata", "ownerReferences"):
        if reference.get("controller"):
            group, _, _ = cells.text(reference, "apiVersion").rpartition("/")
            kind = cells.text(reference, "kind").lower() + (f".{group}" if group else "")
            controller = f"{kind}/{reference.get('name')}"
    return [cells.name(obj), controller, cells.number(obj, "revision"), cells.age(obj, now)]


def _disruption_budget(obj: Object, now: datetime) -> Cells:
    spec = cells.part(obj, "spec")
    return [
        cells.name(obj),
        "N/A" if spec.get("minAvailable") is None else str(spec["minAvailable"]),
        "N/A" if spec.get("maxUnavailable") is None else str(spec["maxUnavailable"]),
        cells.number(obj, "status", "disruptionsAllowed"),
        cells.age(obj, now),
    ]


def _scale(obj: Object, now: datetime) -> Cells:
    replicas = (cells.number(obj, "spec", "replicas"), cells.number(obj, "status", "replicas"))
    return [cells.name(obj), *replicas, cells.age(obj, now)]


_COUNTED = columns("Name Desired:integer Current:integer Ready:integer Age | Containers Images Selector")

DEPLOYMENT = Printer(columns("Name Ready Up-to-date Available Age | Containers Images Selector"), _deployment)
REPLICA_SET = Printer(_COUNTED, _replica_set)
REPLICATION_CONTROLLER = Printer(_COUNTED, _replication_controller)
DAEMON_SET = Printer(
    columns(
        "Name Desired:integer Current:integer Ready:integer Up-to-date:integer Available:integer Node_Selector Age "
        "| Containers Images Selector"
    ),
    _daemon_set,
)
STATEFUL_SET = Printer(columns("Name Ready Age | Containers Images"), _stateful_set)
JOB = Printer(columns("Name Status Completions Duration Age | Containers Images Selector"), _job)
CRON_JOB = Printer(
    columns("Name Schedule Timezone Suspend:boolean Active:integer Last_Schedule Age | Containers Images Selector"),
    _cron_job,
)
CONTROLLER_REVISION = Printer(columns("Name Controller Revision Age"), _controller_revision)
POD_DISRUPTION_BUDGET = Printer(
    columns("Name Min_Available Max_Unavailable Allowed_Disruptions:integer Age"), _disruption_budget
)
SCALE = Printer(columns("Name Desired:integer Available:integer Age"), _scale)
