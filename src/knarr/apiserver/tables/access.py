"""Rows of roles, bindings, certificates, webhooks, policies, extensions and devices.

Source: pkg/printers/internalversion/printers.go; table convertors of apiextensions and kube-aggregator (v1.37).
"""

from datetime import datetime

from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import CREATED_AT, NAME, Cells, Object, Printer, columns


def _created_at(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), cells.text(obj, "metadata", "creationTimestamp")]


def _binding(obj: Object, now: datetime) -> Cells:
    role, subjects = cells.part(obj, "roleRef"), cells.items(obj, "subjects")
    users = [cells.text(one, "name") for one in subjects if one.get("kind") == "User"]
    groups = [cells.text(one, "name") for one in subjects if one.get("kind") == "Group"]
    accounts = [
        f"{cells.text(one, 'namespace')}/{cells.text(one, 'name')}"
        for one in subjects
        if one.get("kind") == "ServiceAccount"
    ]
    return [
        cells.name(obj),
        f"{cells.text(role, 'kind')}/{cells.text(role, 'name')}",
        cells.age(obj, now),
        *(", ".join(found) for found in (users, groups, accounts)),
    ]


def _signing_state(obj: Object) -> str:
    found = {condition.get("type") for condition in cells.items(obj, "status", "conditions")}
    state = next((kind for kind in ("Denied", "Approved") if kind in found), "Pending")
    if "Failed" in found:
        state += ",Failed"
    return f"{state},Issued" if cells.text(obj, "status", "certificate") else state


def _signing_request(obj: Object, now: datetime) -> Cells:
    seconds = cells.part(obj, "spec").get("expirationSeconds")
    return [
        cells.name(obj),
        cells.age(obj, now),
        cells.text(obj, "spec", "signerName", absent=cells.NONE),
        cells.text(obj, "spec", "username"),
        cells.NONE if seconds is None else cells.human_duration(seconds),
        _signing_state(obj),
    ]


def _webhooks(obj: Object, now: datetime) -> Cells:
    return [cells.name(obj), len(cells.items(obj, "webhooks")), cells.age(obj, now)]


def _policy(obj: Object, rules: str, now: datetime) -> Cells:
    kind = cells.part(obj, "spec", "paramKind")
    shown = f"{cells.text(kind, 'apiVersion')}/{cells.text(kind, 'kind')}" if kind else cells.UNSET
    return [cells.name(obj), len(cells.items(obj, "spec", rules)), shown, cells.age(obj, now)]


def _validating_policy(obj: Object, now: datetime) -> Cells:
    return _policy(obj, "validations", now)


def _mutating_policy(obj: Object, now: datetime) -> Cells:
    return _policy(obj, "mutations", now)


def _policy_binding(obj: Object, now: datetime) -> Cells:
    reference, shown = cells.part(obj, "spec", "paramRef"), cells.UNSET
    if reference:
        namespace = cells.text(reference, "namespace")
        shown = (f"{namespace}/" if namespace else "") + cells.text(reference, "name", absent="*")
    return [cells.name(obj), cells.text(obj, "spec", "policyName"), shown, cells.age(obj, now)]


def _api_service(obj: Object, now: datetime) -> Cells:
    service = cells.part(obj, "spec", "service")
    shown = f"{service.get('namespace')}/{service.get('name')}" if service else "Local"
    available = "Unknown"
    for condition in cells.items(obj, "status", "conditions"):
        if condition.get("type") == "Available":
            available = cells.text(condition, "status")
            if available != "True":
                available = f"{available} ({cells.text(condition, 'reason')})"
    return [cells.name(obj), shown, available, cells.age(obj, now)]


def _resource_claim(obj: Object, now: datetime) -> Cells:
    is_deleted, status = bool(cells.part(obj, "metadata", "deletionTimestamp")), cells.part(obj, "status")
    states = ["deleted"] if is_deleted else []
    if status.get("allocation") is not None:
        states.append("allocated")
        states += ["reserved"] if status.get("reservedFor") else []
    elif not is_deleted:
        states.append("pending")
    return [cells.name(obj), ",".join(states), cells.age(obj, now)]


def _resource_slice(obj: Object, now: datetime) -> Cells:
    return [
        cells.name(obj),
        cells.text(obj, "spec", "nodeName", absent=cells.UNSET),
        cells.text(obj, "spec", "driver"),
        cells.text(obj, "spec", "pool", "name"),
        cells.age(obj, now),
    ]


_BOUND = columns("Name PolicyName ParamRef Age")

CREATED = Printer((NAME, CREATED_AT), _created_at)
BINDING = Printer(columns("Name Role Age | Users Groups ServiceAccounts"), _binding)
SIGNING_REQUEST = Printer(columns("Name Age SignerName Requestor RequestedDuration Condition"), _signing_request)
WEBHOOKS = Printer(columns("Name Webhooks:integer Age"), _webhooks)
VALIDATING_POLICY = Printer(columns("Name Validations:integer ParamKind Age"), _validating_policy)
MUTATING_POLICY = Printer(columns("Name Mutations:integer ParamKind Age"), _mutating_policy)
POLICY_BINDING = Printer(_BOUND, _policy_binding)
API_SERVICE = Printer(columns("Name Service Available Age"), _api_service)
RESOURCE_CLAIM = Printer(columns("Name State Age"), _resource_claim)
RESOURCE_SLICE = Printer(columns("Name Node Driver Pool Age"), _resource_slice)
