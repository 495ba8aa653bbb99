"""Where pods may run: node selectors, affinity, taints and tolerations, topology spread constraints.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from collections.abc import Sequence

from knarr.api import names
from knarr.api.validation import meta, selectors
from knarr.api.validation.collector import POSITIVE, Errors, Object

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_BAD_OPERATOR = "not a valid selector operator"


def node_selector(errors: Errors, selector: Object, path: str) -> None:
    """Check a NodeSelector that must be met."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        errors.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        _node_term(errors, term, f"{path}.nodeSelectorTerms[{index}]", check_values=True)


def _node_term(errors: Errors, term: Object, path: str, *, check_values: bool) -> None:
    for index, requirement in enumerate(term.get("matchExpressions") or ()):
        _node_requirement(errors, requirement, f"{path}.matchExpressions[{index}]", check_values=check_values)
    for index, requirement in enumerate(term.get("matchFields") or ()):
        _node_field(errors, requirement, f"{path}.matchFields[{index}]")


def _node_requirement(errors: Errors, requirement: Object, path: str, *, check_values: bool) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in {"In", "NotIn"}:
        if not values:
            errors.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
    elif operator in {"Exists", "DoesNotExist"}:
        if values:
            errors.forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
    elif operator in {"Gt", "Lt"}:
        if len(values) != 1:
            errors.required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
    else:
        errors.invalid(f"{path}.operator", operator, _BAD_OPERATOR)
    meta.label_name(errors, requirement.get("key") or "", f"{path}.key")
    if check_values:
        for index, value in enumerate(values):
            errors.all_invalid(f"{path}.values[{index}]", value, names.label_value(value))


def _node_field(errors: Errors, requirement: Object, path: str) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    if operator in {"In", "NotIn"}:
        if len(values) != 1:
            words = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
            errors.required(f"{path}.values", words)
    else:
        errors.invalid(f"{path}.operator", operator, _BAD_OPERATOR)
    key = requirement.get("key") or ""
    if key != "metadata.name":
        errors.invalid(f"{path}.key", key, "not a valid field selector key")
        return
    for index, value in enumerate(values):
        errors.all_invalid(f"{path}.values[{index}]", value, names.dns_subdomain(value))


def affinity(errors: Errors, value: Object, path: str) -> None:
    """Check `affinity` of a pod spec."""
    of_nodes = value.get("nodeAffinity")
    if of_nodes:
        here = f"{path}.nodeAffinity"
        if of_nodes.get(_REQUIRED) is not None:
            node_selector(errors, of_nodes[_REQUIRED], f"{here}.{_REQUIRED}")
        for index, term in enumerate(of_nodes.get(_PREFERRED) or ()):
            _weight(errors, term, f"{here}.{_PREFERRED}[{index}]")
            preference = f"{here}.{_PREFERRED}[{index}].preference"
            _node_term(errors, term.get("preference") or {}, preference, check_values=False)
    for kind in ("podAffinity", "podAntiAffinity"):
        of_pods = value.get(kind)
        if not of_pods:
            continue
        for index, term in enumerate(of_pods.get(_REQUIRED) or ()):
            _pod_term(errors, term, f"{path}.{kind}.{_REQUIRED}[{index}]")
        for index, term in enumerate(of_pods.get(_PREFERRED) or ()):
            here = f"{path}.{kind}.{_PREFERRED}[{index}]"
            _weight(errors, term, here)
            _pod_term(errors, term.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm")


def _weight(errors: Errors, term: Object, path: str) -> None:
    weight = term.get("weight") or 0
    if not 1 <= weight <= 100:
        errors.invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _pod_term(errors: Errors, term: Object, path: str) -> None:
    selectors.check(errors, term.get("labelSelector"), f"{path}.labelSelector")
    selectors.check(errors, term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for namespace in term.get("namespaces") or ():
        errors.all_invalid(f"{path}.namespace", namespace, names.dns_label(namespace))
    _label_keys(errors, term, path)
    key = term.get("topologyKey") or ""
    if not key:
        errors.required(f"{path}.topologyKey", "can not be empty")
    meta.label_name(errors, key, f"{path}.topologyKey")


def _label_keys(errors: Errors, term: Object, path: str) -> None:
    selector = term.get("labelSelector")
    matched, mismatched = term.get("matchLabelKeys") or [], term.get("mismatchLabelKeys") or []
    for name, keys in (("matchLabelKeys", matched), ("mismatchLabelKeys", mismatched)):
        if keys and selector is None:
            errors.forbidden(f"{path}.{name}", "must not be specified when labelSelector is not set")
            continue
        for index, key in enumerate(keys):
            meta.label_name(errors, key, f"{path}.{name}[{index}]")
    if selector is not None:
        seen = set(selector.get("matchLabels") or ())
        for expression in selector.get("matchExpressions") or ():
            key = expression.get("key")
            if key in matched and key in seen:
                errors.invalid(f"{path}[{matched.index(key)}]", key, "exists in both matchLabelKeys and labelSelector")
            seen.add(key)
    for index, key in enumerate(matched):
        if key in mismatched:
            words = "exists in both matchLabelKeys and mismatchLabelKeys"
            errors.invalid(f"{path}.matchLabelKeys[{index}]", key, words)


def tolerations(errors: Errors, values: Sequence[Object], path: str) -> None:
    """Check a list of tolerations."""
    for index, toleration in enumerate(values):
        here = f"{path}[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or ""
        value, effect = toleration.get("value") or "", toleration.get("effect") or ""
        if key:
            meta.label_name(errors, key, f"{here}.key")
        elif operator != "Exists":
            words = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            errors.invalid(f"{here}.operator", operator, words)
        if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
            errors.invalid(f"{here}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator in {"Equal", ""}:
            complaints = names.label_value(value)
            if complaints:
                errors.invalid(f"{here}.operator", value, ";".join(complaints))
        elif operator == "Exists":
            if value:
                errors.invalid(f"{here}.operator", value, "value must be empty when `operator` is 'Exists'")
        else:
            errors.unsupported(f"{here}.operator", operator, ("Equal", "Exists"))
        if effect:
            errors.one_of(f"{here}.effect", effect, TAINT_EFFECTS)


def taints(errors: Errors, values: Sequence[Object], path: str) -> None:
    """Check the taints of a node."""
    seen = set()
    for index, taint in enumerate(values):
        here = f"{path}[{index}]"
        key, value, effect = (taint.get(name) or "" for name in ("key", "value", "effect"))
        meta.label_name(errors, key, f"{here}.key")
        complaints = names.label_value(value)
        if complaints:
            errors.invalid(f"{here}.value", value, ";".join(complaints))
        errors.one_of(f"{here}.effect", effect, TAINT_EFFECTS)
        if (key, effect) in seen:
            shown = {"Key": key, "Value": value, "Effect": effect, "TimeAdded": taint.get("timeAdded")}
            errors.duplicate(here, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def spread_constraints(errors: Errors, values: Sequence[Object], path: str) -> None:
    """Check `topologySpreadConstraints` of a pod spec."""
    for index, constraint in enumerate(values):
        here = f"{path}[{index}]"
        skew, key, action = constraint.get("maxSkew") or 0, constraint.get("topologyKey") or "", _action(constraint)
        if skew <= 0:
            errors.invalid(f"{here}.maxSkew", skew, POSITIVE)
        if not key:
            errors.required(f"{here}.topologyKey", "can not be empty")
        errors.one_of(f"{here}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"), required=False)
        if any((other.get("topologyKey") or "", _action(other)) == (key, action) for other in values[index + 1 :]):
            errors.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}")
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                errors.invalid(f"{here}.minDomains", domains, POSITIVE)
            if action != "DoNotSchedule":
                words = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                errors.invalid(f"{here}.minDomains", domains, words)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            if constraint.get(name) is not None:
                errors.one_of(f"{here}.{name}", constraint[name], ("Honor", "Ignore"), required=False)
        _label_keys(errors, constraint, here)
        selectors.check(errors, constraint.get("labelSelector"), f"{here}.labelSelector")


def _action(constraint: Object) -> str:
    return constraint.get("whenUnsatisfiable") or ""
