"""Rows of nodes, namespaces, events, configuration and what else the cluster keeps.

Source: pkg/printers/internalversion/printers.go (v1.37).
"""

from datetime import datetime

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns

_ROLE_PREFIX = "node-role.kubernetes.io/"
_ROLE = "kubernetes.io/role"


def _node_status(node: Object) -> str:
    words = []
    for condition in cells.items(node, "status", "conditions"):
        if condition.get("type") == "Ready":
            words = ["Ready" if condition.get("status") == "True" else "NotReady"]
    words = words or ["Unknown"]
    if cells.part(node, "spec", "unschedulable") is True:
        words.append("SchedulingDisabled")
    return ",".join(words)


def _node_roles(node: Object) -> str:
    found = set()
    for key, value in cells.part(node, "metadata", "labels").items():
        if key.startswith(_ROLE_PREFIX) and len(key) > len(_ROLE_PREFIX):
            found.add(key[len(_ROLE_PREFIX) :])
        elif key == _ROLE and value:
            found.add(value)
    return cells.joined(sorted(found))


def _node_address(node: Object, kind: str) -> str:
    for address in cells.items(node, "status", "addresses"):
        if address.get("type") == kind:
            return cells.text(address, "address")
    return cells.NONE


def _node(obj: Object, now: datetime) -> Cells:
    info = cells.part(obj, "status", "nodeInfo")
    return [
        cells.name(obj),
        _node_status(obj),
        _node_roles(obj),
        cells.age(obj, now),
        cells.text(info, "kubeletVersion"),
        _node_address(obj, "InternalIP"),
        _node_address(obj, "ExternalIP"),
        cells.text(info, "osImage", absent=cells.UNKNOWN),
        cells.text(info, "kernelVersion", absent=cells.UNKNOWN),
        cells.text(info, "containerRuntimeVersion", absent=cells.UNKNOWN),
    ]


def _event(obj: Object, now: datetime) -> Cells:
    # Both versions of Event are shown alike; the newer one has other names for the same facts.
    first_at = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp") or obj.get("eventTime")
    last_at = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp") or first_at
    count = obj.get("count") or obj.get("deprecatedCount") or 1
    series = obj.get("series")
    if series:
        last_at, count = series.get("lastObservedTime"), series.get("count") or 0
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    kind, name = cells.text(about, "kind").lower(), cells.text(about, "name")
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return [
        cells.since(last_at, now),
        cells.text(obj, "type"),
        cells.text(obj, "reason"),
        f"{kind}/{name}" if name else kind,
        cells.text(about, "fieldPath"),
        f"{component}, {instance}" if instance else component,
        (obj.get("message") or obj.get("note") or "").strip(),
        cells.since(first_at, now),
        count,
        cells.name(obj),
    ]


def _namespace(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "status", "phase"), cells.age(obj, now)]


def _config_map(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), len(cells.part(obj, "data")) + len(cells.part(obj, "binaryData")), cells.age(obj, now)]


def _secret(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "type"), len(cells.part(obj, "data")), cells.age(obj, now)]


def _plain(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.age(obj, now)]


def _component_status(obj: Object, now: datetime) -> Cells:
    for condition in cells.items(obj, "conditions"):
        if condition.get("type") == "Healthy":
            status = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            return [cells.name(obj), status, cells.text(condition, "message"), cells.text(condition, "error")]
    return [cells.name(obj), "Unknown", "", ""]


def _resource_quota(obj: Object, now: datetime) -> Cells:
    hard, used = cells.part(obj, "status", "hard"), cells.part(obj, "status", "used")
    requests: list[str] = []
    limits: list[str] = []
    for resource in sorted(hard):
        shown = f"{resource}: {used.get(resource, '0')}/{hard[resource]}"
        (limits if resource.startswith("limits.") else requests).append(shown)
    return [cells.name(obj), ", ".join(requests), ", ".join(limits), cells.age(obj, now)]


def _priority_class(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        cells.number(obj, "value"),
        bool(obj.get("globalDefault")),
        cells.age(obj, now),
        cells.text(obj, "preemptionPolicy"),
    ]


def _runtime_class(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "handler"), cells.age(obj, now)]


def _lease(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "spec", "holderIdentity"), cells.age(obj, now)]


def _flow_schema(obj: Object, now: datetime) -> Cells:
    dangling = "?"
    for condition in cells.items(obj, "status", "conditions"):
        if condition.get("type") == "Dangling":
            dangling = cells.text(condition, "status")
    return [
        cells.name(obj),
        cells.text(obj, "spec", "priorityLevelConfiguration", "name"),
        cells.number(obj, "spec", "matchingPrecedence"),
        cells.text(obj, "spec", "distinguisherMethod", "type", absent=cells.NONE),
        cells.age(obj, now),
        dangling,
    ]


def _precedence(obj: Object) -> tuple[int, str]:
    return cells.number(obj, "spec", "matchingPrecedence"), cells.name(obj)


def _priority_level(obj: Object, now: datetime) -> Cells:
    limited = cells.part(obj, "spec", "limited")
    queuing = cells.part(limited, "limitResponse", "queuing")
    return [
        cells.name(obj),
        cells.text(obj, "spec", "type"),
        limited.get("nominalConcurrencyShares", cells.NONE),
        *(queuing.get(field, cells.NONE) for field in ("queues", "handSize", "queueLengthLimit")),
        cells.age(obj, now),
    ]


NODE = Printer(
    columns("Name Status Roles Age Version | Internal-IP External-IP OS-Image Kernel-Version Container-Runtime"), _node
)
_EVENT_COLUMNS = (
    *columns("Last_Seen Type Reason Object | Subobject Source"),
    *columns("Message"),
    *columns("| First_Seen Count Name"),
)
EVENT = Printer(_EVENT_COLUMNS, _event)
NAMESPACE = Printer(columns("Name Status Age"), _namespace)
CONFIG_MAP = Printer(columns("Name Data Age"), _config_map)
SECRET = Printer(columns("Name Type Data Age"), _secret)
PLAIN = Printer(columns("Name Age"), _plain)
COMPONENT_STATUS = Printer(columns("Name Status Message Error"), _component_status)
RESOURCE_QUOTA = Printer(columns("Name Request Limit Age"), _resource_quota)
PRIORITY_CLASS = Printer(columns("Name Value:integer Global-Default:boolean Age PreemptionPolicy"), _priority_class)
RUNTIME_CLASS = Printer(columns("Name Handler Age"), _runtime_class)
LEASE = Printer(columns("Name Holder Age"), _lease)
FLOW_SCHEMA = Printer(
    columns("Name PriorityLevel MatchingPrecedence DistinguisherMethod Age MissingPL"), _flow_schema, _precedence
)
PRIORITY_LEVEL = Printer(
    columns("Name Type NominalConcurrencyShares Queues HandSize QueueLengthLimit Age"), _priority_level
)
