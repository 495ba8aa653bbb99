"""HorizontalPodAutoscalers of both versions, and Scale.

Source: k8s.io/kubernetes/pkg/apis/autoscaling/validation/validation.go (v1.37). Metrics of v1 objects are said to be wrong where
the v2 object that they become has them.
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import amounts, names
from knarr.api.validation import resources, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.rules import Rules

_WINDOW_MAX_S = 3600
_PERIOD_MAX_S = 1800
_SELECT_POLICIES = ("Disabled", "Max", "Min")
_POLICY_TYPES = ("Percent", "Pods")
_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}


def horizontal_pod_autoscaler(errors: Errors, obj: Object) -> None:
    """Check a HorizontalPodAutoscaler."""
    _spec(errors, obj, 1)


def _update(errors: Errors, obj: Object, old: Object) -> None:
    _spec(errors, obj, 0 if (old.get("spec") or {}).get("minReplicas") == 0 else 1)


def _spec(errors: Errors, obj: Object, lowest: int) -> None:
    spec = obj.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    if least is not None and least < lowest:
        errors.invalid("spec.minReplicas", least, f"must be greater than or equal to {lowest}")
    if most < 1:
        errors.invalid("spec.maxReplicas", most, "must be greater than 0")
    if least is not None and most < least:
        errors.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`")
    reference(errors, spec.get("scaleTargetRef") or {}, "spec.scaleTargetRef")
    metrics = spec.get("metrics") or []
    percentage = spec.get("targetCPUUtilizationPercentage")
    if percentage is not None:
        target = {"type": "Utilization", "averageUtilization": percentage}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    for index, metric in enumerate(metrics):
        _metric(errors, metric, f"spec.metrics[{index}]")
    if least == 0 and not any(metric.get("type") in {"Object", "External"} for metric in metrics):
        words = "must specify at least one Object or External metric to support scaling to zero replicas"
        errors.forbidden("spec.metrics", words)
    behavior = spec.get("behavior") or {}
    for direction in ("scaleUp", "scaleDown"):
        if behavior.get(direction) is not None:
            _scaling_rules(errors, behavior[direction], f"spec.behavior.{direction}")


def reference(errors: Errors, target: Object, path: str) -> None:
    """Check a reference to an object by kind and name."""
    for field in ("kind", "name"):
        value = target.get(field) or ""
        if value:
            errors.all_invalid(f"{path}.{field}", value, names.path_segment(value))
        else:
            errors.required(f"{path}.{field}")


def _scaling_rules(errors: Errors, rules: Object, path: str) -> None:
    window, here = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        errors.invalid(here, window, "must be greater than or equal to zero")
    if window is not None and window > _WINDOW_MAX_S:
        errors.invalid(here, window, f"must be less than or equal to {_WINDOW_MAX_S}")
    select = rules.get("selectPolicy")
    if select is not None and select not in _SELECT_POLICIES:
        errors.unsupported(f"{path}.selectPolicy", select, _SELECT_POLICIES)
    policies = rules.get("policies") or ()
    if not policies:
        errors.required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        here, period = f"{path}.policies[{index}]", policy.get("periodSeconds") or 0
        kind, value = policy.get("type") or "", policy.get("value") or 0
        if kind not in _POLICY_TYPES:
            errors.unsupported(f"{here}.type", kind, _POLICY_TYPES)
        if value <= 0:
            errors.invalid(f"{here}.value", value, "must be greater than zero")
        if period <= 0:
            errors.invalid(f"{here}.periodSeconds", period, "must be greater than zero")
        if period > _PERIOD_MAX_S:
            errors.invalid(f"{here}.periodSeconds", period, f"must be less than or equal to {_PERIOD_MAX_S}")


def _metric(errors: Errors, metric: Object, path: str) -> None:
    kind = metric.get("type") or ""
    if not kind:
        errors.required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        errors.unsupported(f"{path}.type", kind, sorted(_SOURCES))
    present = [field for field in _SOURCES.values() if metric.get(field) is not None]
    if present:
        _CHECKS[present[0]](errors, metric[present[0]], f"{path}.{present[0]}")
    expected = _SOURCES.get(kind)
    if expected and expected not in present:
        errors.required(f"{path}.{expected}", "must populate information for the given metric source")
    if len(present) != 1:
        for field in present:
            if field != expected:
                errors.forbidden(f"{path}.{field}", "must populate the given metric source only")


def _identifier(errors: Errors, source: Object, path: str) -> None:
    metric = source.get("metric") or {}
    name = metric.get("name") or ""
    if name:
        errors.all_invalid(f"{path}.metric.name", name, names.path_segment(name))
    else:
        errors.required(f"{path}.metric.name", "must specify a metric name")
    selectors.check(errors, metric.get("selector"), f"{path}.metric.selector")


def _target(errors: Errors, source: Object, path: str) -> Object:
    target: Object = source.get("target") or {}
    kind = target.get("type") or ""
    if not kind:
        errors.required(f"{path}.target.type", "must specify a metric target type")
    if kind not in {"Utilization", "Value", "AverageValue"}:
        errors.invalid(f"{path}.target.type", kind, "must be either Utilization, Value, or AverageValue")
    for field in ("value", "averageValue"):
        value = target.get(field)
        if value is not None and not _is_positive(value):
            errors.invalid(f"{path}.target.{field}", value, "must be positive")
    utilization = target.get("averageUtilization")
    if utilization is not None and utilization < 1:
        errors.invalid(f"{path}.target.averageUtilization", utilization, "must be greater than 0")
    return target


def _is_positive(quantity: Any) -> bool:
    try:
        return amounts.nanos(quantity) > 0
    except ValueError:
        return False


def _object(errors: Errors, source: Object, path: str) -> None:
    reference(errors, source.get("describedObject") or {}, f"{path}.describedObject")
    _identifier(errors, source, path)
    target = _target(errors, source, path)
    if target.get("value") is None and target.get("averageValue") is None:
        errors.required(f"{path}.target.averageValue", "must set either a target value or averageValue")


def _external(errors: Errors, source: Object, path: str) -> None:
    _identifier(errors, source, path)
    target = _target(errors, source, path)
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        words = "must set either a target value for metric or a per-pod target"
        errors.required(f"{path}.target.averageValue", words)
    if value is not None and average is not None:
        words = "may not set both a target value for metric and a per-pod target"
        errors.forbidden(f"{path}.target.value", words)


def _pods(errors: Errors, source: Object, path: str) -> None:
    _identifier(errors, source, path)
    if _target(errors, source, path).get("averageValue") is None:
        errors.required(f"{path}.target.averageValue", "must specify a positive target averageValue")


def _resource(errors: Errors, source: Object, path: str) -> None:
    name = source.get("name") or ""
    if name:
        resources.container_resource_name(errors, name, f"{path}.name")
    else:
        errors.required(f"{path}.name", "must specify a resource name")
    _raw_or_utilization(errors, source, path)


def _container_resource(errors: Errors, source: Object, path: str) -> None:
    name, container = source.get("name") or "", source.get("container") or ""
    if name:
        resources.container_resource_name(errors, name, f"{path}.name")
    else:
        errors.required(f"{path}.name", "must specify a resource name")
    if container:
        errors.all_invalid(f"{path}.container", container, names.dns_label(container))
    else:
        errors.required(f"{path}.container", "must specify a container")
    _raw_or_utilization(errors, source, path)


def _raw_or_utilization(errors: Errors, source: Object, path: str) -> None:
    target = _target(errors, source, path)
    utilization, average = target.get("averageUtilization"), target.get("averageValue")
    if utilization is None and average is None:
        words = "must set either a target raw value or a target utilization"
        errors.required(f"{path}.target.averageUtilization", words)
    if utilization is not None and average is not None:
        words = "may not set both a target raw value and a target utilization"
        errors.forbidden(f"{path}.target.averageValue", words)


_CHECKS = {
    "object": _object,
    "external": _external,
    "pods": _pods,
    "resource": _resource,
    "containerResource": _container_resource,
}


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the numbers in the status of a HorizontalPodAutoscaler."""
    errors.not_negatives(obj.get("status") or {}, "status", "currentReplicas", "desiredReplicas")


def scale(errors: Errors, obj: Object) -> None:
    """Check a Scale."""
    errors.not_negative("spec.replicas", (obj.get("spec") or {}).get("replicas"))


RULES: Mapping[tuple[str, str], Rules] = {
    ("autoscaling", "HorizontalPodAutoscaler"): Rules(horizontal_pod_autoscaler, _update, status),
    ("autoscaling", "Scale"): Rules(scale),
}
