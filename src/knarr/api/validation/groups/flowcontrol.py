"""FlowSchemas and PriorityLevelConfigurations.

Source: k8s.io/kubernetes/pkg/apis/flowcontrol/validation/validation.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.rules import Rules

GROUP = "flowcontrol.apiserver.k8s.io"
EXEMPT = "exempt"
_PRECEDENCE_MAX = 10_000
_QUEUES_MAX = 10 * 1000 * 1000
_DISTINGUISHERS = ("ByNamespace", "ByUser")
_SUBJECTS = {"Group": "group", "ServiceAccount": "serviceAccount", "User": "user"}
_VERBS = (
    "apply", "connect", "create", "delete", "deletecollection", "get", "list", "patch", "post", "proxy", "put", "update", "watch",
)  # fmt: skip
_NAMESPACES = "each member of this list must be '*' or a DNS-1123 label; "


def flow_schema(errors: Errors, obj: Object) -> None:
    """Check a FlowSchema."""
    spec = obj.get("spec") or {}
    precedence, path = spec.get("matchingPrecedence") or 0, "spec.matchingPrecedence"
    if precedence <= 0:
        errors.invalid(path, precedence, "must be a positive value")
    if precedence > _PRECEDENCE_MAX:
        errors.invalid(path, precedence, f"must not be greater than {_PRECEDENCE_MAX}")
    if precedence == 1 and (obj.get("metadata") or {}).get("name") != EXEMPT:
        errors.invalid(path, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _DISTINGUISHERS:
        errors.unsupported("spec.distinguisherMethod.type", {"Type": method.get("type") or ""}, _DISTINGUISHERS)
    level = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    if level:
        errors.all_invalid("spec.priorityLevelConfiguration.name", level, names.dns_subdomain(level))
    else:
        errors.required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    for index, rule in enumerate(spec.get("rules") or ()):
        _rules(errors, rule, f"spec.rules[{index}]")
    _conditions(errors, obj)


def _rules(errors: Errors, rule: Object, path: str) -> None:
    subjects, resource = rule.get("subjects") or (), rule.get("resourceRules") or ()
    other = rule.get("nonResourceRules") or ()
    if not subjects:
        errors.required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(subjects):
        _subject(errors, subject, f"{path}.subjects[{index}]")
    if not resource and not other:
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, one in enumerate(resource):
        _resource_rule(errors, one, f"{path}.resourceRules[{index}]")
    for index, one in enumerate(other):
        here = f"{path}.nonResourceRules[{index}]"
        _verbs(errors, one, here)
        words = "nonResourceURLs must contain at least one value"
        _list(errors, one.get("nonResourceURLs") or [], f"{here}.nonResourceURLs", words, "non-resource URLs")


def _subject(errors: Errors, subject: Object, path: str) -> None:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        errors.unsupported(f"{path}.kind", kind, _SUBJECTS)
        return
    for other, field in _SUBJECTS.items():
        given = subject.get(field)
        if other != kind and given is not None:
            errors.forbidden(f"{path}.{field}", f"{field} is forbidden when subject kind is not '{other}'")
        elif other == kind and given is None:
            errors.required(f"{path}.{field}", f"{field} is required when subject kind is '{kind}'")
    given, here = subject.get(_SUBJECTS[kind]), f"{path}.{_SUBJECTS[kind]}"
    if given is None:
        return
    name = given.get("name") or ""
    if not name:
        errors.required(f"{here}.name")
    if kind != "ServiceAccount":
        return
    if name and name != "*":
        errors.all_invalid(f"{here}.name", name, names.dns_subdomain(name))
    namespace = given.get("namespace") or ""
    if namespace:
        errors.all_invalid(f"{here}.namespace", namespace, names.dns_label(namespace))
    else:
        errors.required(f"{here}.namespace", "must specify namespace for service account")


def _list(errors: Errors, values: list[str], path: str, missing: str, what: str) -> None:
    if not values:
        errors.required(path, missing)
    elif len(values) > 1 and "*" in values:
        errors.invalid(path, values, f"if '*' is present, must not specify other {what}")


def _verbs(errors: Errors, rule: Object, path: str) -> None:
    verbs = rule.get("verbs") or []
    _list(errors, verbs, f"{path}.verbs", "verbs must contain at least one value", "verbs")
    if "*" not in verbs and set(verbs) - set(_VERBS):
        errors.unsupported(f"{path}.verbs", verbs, _VERBS)


def _resource_rule(errors: Errors, rule: Object, path: str) -> None:
    _verbs(errors, rule, path)
    for field, one, many in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        missing = f"resource rules must supply at least one {one}"
        _list(errors, rule.get(field) or [], f"{path}.{field}", missing, many)
    namespaces, here = rule.get("namespaces") or [], f"{path}.namespaces"
    if not namespaces and not rule.get("clusterScope"):
        words = "resource rules that are not cluster scoped must supply at least one namespace"
        errors.required(here, words)
    elif "*" in namespaces:
        _list(errors, namespaces, here, "", "namespaces")
    else:
        for index, namespace in enumerate(namespaces):
            for complaint in names.dns_label(namespace):
                errors.invalid(f"{here}[{index}]", namespace, f"{_NAMESPACES}{complaint}")


def _conditions(errors: Errors, obj: Object) -> None:
    seen = set()
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        here, kind = f"status.conditions[{index}].type", condition.get("type") or ""
        if kind in seen:
            errors.duplicate(here, kind)
        seen.add(kind)
        if not kind:
            errors.required(here, "must not be empty")


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the conditions of either kind."""
    _conditions(errors, obj)


def priority_level(errors: Errors, obj: Object) -> None:
    """Check a PriorityLevelConfiguration."""
    spec = obj.get("spec") or {}
    kind, limited, exempt = spec.get("type") or "", spec.get("limited"), spec.get("exempt")
    if ((obj.get("metadata") or {}).get("name") == EXEMPT) != (kind == "Exempt"):
        errors.invalid("spec.type", kind, "type must be 'Exempt' if and only if name is 'exempt'")
    if kind == "Exempt":
        if limited is not None:
            errors.forbidden("spec.limited", "must be nil if the type is not Limited")
        if exempt is not None:
            _shares(errors, exempt, "spec.exempt")
    elif kind == "Limited":
        if exempt is not None:
            errors.forbidden("spec.exempt", "must be nil if the type is Limited")
        if limited is None:
            errors.required("spec.limited", "must not be empty when type is Limited")
        else:
            _limited(errors, limited, "spec.limited")
    else:
        errors.unsupported("spec.type", kind, ("Exempt", "Limited"))
    _conditions(errors, obj)


def _shares(errors: Errors, given: Object, path: str) -> None:
    shares, lendable = given.get("nominalConcurrencyShares"), given.get("lendablePercent")
    if shares is not None and shares < 0:
        errors.invalid(f"{path}.nominalConcurrencyShares", shares, "must be a non-negative integer")
    if lendable is not None and not 0 <= lendable <= 100:
        errors.invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")


def _limited(errors: Errors, limited: Object, path: str) -> None:
    _shares(errors, limited, path)
    response, here = limited.get("limitResponse") or {}, f"{path}.limitResponse"
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind == "Reject":
        if queuing is not None:
            errors.forbidden(f"{here}.queuing", "must be nil if limited.limitResponse.type is not Limited")
    elif kind == "Queue":
        if queuing is None:
            words = "must not be empty if limited.limitResponse.type is Limited"
            errors.required(f"{here}.queuing", words)
        else:
            _queuing(errors, queuing, f"{here}.queuing")
    else:
        errors.unsupported(f"{here}.type", kind, ("Queue", "Reject"))
    borrowing = limited.get("borrowingLimitPercent")
    if borrowing is not None and borrowing < 0:
        errors.invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")


def _queuing(errors: Errors, queuing: Object, path: str) -> None:
    values: dict[str, Any] = {name: queuing.get(name) or 0 for name in ("queueLengthLimit", "queues", "handSize")}
    if values["queueLengthLimit"] <= 0:
        errors.invalid(f"{path}.queueLengthLimit", values["queueLengthLimit"], "must be positive")
    queues, hand = values["queues"], values["handSize"]
    if queues <= 0:
        errors.invalid(f"{path}.queues", queues, "must be positive")
    elif queues > _QUEUES_MAX:
        errors.invalid(f"{path}.queues", queues, f"must not be greater than {_QUEUES_MAX}")
    if hand <= 0:
        errors.invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        words = f"should not be greater than queues ({queues})"
        errors.invalid(f"{path}.handSize", hand, words)


RULES: Mapping[tuple[str, str], Rules] = {
    (GROUP, "FlowSchema"): Rules(flow_schema, status=status),
    (GROUP, "PriorityLevelConfiguration"): Rules(priority_level, status=status),
}
