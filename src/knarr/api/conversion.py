"""Objects from one served version of their kind to another.

Two kinds have versions of different shape: Event (core and events.k8s.io) and HorizontalPodAutoscaler (autoscaling/v1 and v2).
Of every other kind only the apiVersion changes.

Source: pkg/apis/events/v1/conversion.go, pkg/apis/autoscaling/v1/conversion.go (v1.37).
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from knarr.api.scheme import Resource

Object = dict[str, Any]

_METRICS = "autoscaling.alpha.kubernetes.io/metrics"
_CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
_CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
_BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"

# What a core Event's fields are called in events.k8s.io.
_EVENT_NAMES = {
    "involvedObject": "regarding",
    "message": "note",
    "source": "deprecatedSource",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "reportingComponent": "reportingController",
}
_CORE_EVENT_NAMES = {new: old for old, new in _EVENT_NAMES.items()}


def convert(obj: Object, target: Resource) -> Object:
    """Return an object in the version of `target`; the same object if it is in that version already.

    Args:
        obj: An object of the same kind, complete with its apiVersion; not changed.
        target: Resource of the version that is wanted.
    """
    source = obj.get("apiVersion")
    if source == target.api_version:
        return obj
    change = _CHANGES.get((source, target.api_version, target.kind))
    converted = change(obj) if change is not None else dict(obj)
    return {**converted, "apiVersion": target.api_version, "kind": target.kind}


def _renamed(names: Mapping[str, str]) -> Callable[[Object], Object]:
    return lambda obj: {names.get(key, key): value for key, value in obj.items()}


def _hpa_to_v1(obj: Object) -> Object:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    annotations: dict[str, str] = {}
    metrics, behavior = spec.pop("metrics", None) or [], spec.pop("behavior", None)
    others = []
    for metric in metrics:
        target = (metric.get("resource") or {}).get("target") or {}
        if _is_cpu(metric) and "averageUtilization" in target and "targetCPUUtilizationPercentage" not in spec:
            spec["targetCPUUtilizationPercentage"] = target["averageUtilization"]
        else:
            others.append(_metric_to_v1(metric, "target"))
    if others:
        annotations[_METRICS] = _dump(others)
    if behavior is not None:
        annotations[_BEHAVIOR] = _dump(behavior)
    # autoscaling/v2 leaves out what autoscaling/v1 requires.
    if status:
        status.setdefault("currentReplicas", 0)
    current = []
    for metric in status.pop("currentMetrics", None) or []:
        value = (metric.get("resource") or {}).get("current") or {}
        if _is_cpu(metric) and "averageUtilization" in value:
            status["currentCPUUtilizationPercentage"] = value["averageUtilization"]
        current.append(_metric_to_v1(metric, "current"))
    if any(not _is_plain_cpu(metric) for metric in current):
        annotations[_CURRENT_METRICS] = _dump(current)
    conditions = status.pop("conditions", None)
    if conditions:
        annotations[_CONDITIONS] = _dump(conditions)
    return _with_annotations({**obj, "spec": spec, "status": status}, annotations)


def _hpa_to_v2(obj: Object) -> Object:
    spec, status = dict(obj.get("spec") or {}), dict(obj.get("status") or {})
    metadata = dict(obj.get("metadata") or {})
    annotations = dict(metadata.get("annotations") or {})
    metrics = [_metric_to_v2(metric, "target") for metric in _load(annotations.pop(_METRICS, "[]"), [])]
    percentage = spec.pop("targetCPUUtilizationPercentage", None)
    if percentage is not None:
        metrics.insert(0, _cpu("target", {"type": "Utilization", "averageUtilization": percentage}))
    if metrics:
        spec["metrics"] = metrics
    if status.get("currentReplicas") == 0:
        del status["currentReplicas"]
    behavior = _load(annotations.pop(_BEHAVIOR, "null"), None)
    if behavior is not None:
        spec["behavior"] = behavior
    current = [_metric_to_v2(metric, "current") for metric in _load(annotations.pop(_CURRENT_METRICS, "[]"), [])]
    percentage = status.pop("currentCPUUtilizationPercentage", None)
    if percentage is not None and not any(_is_cpu(metric) for metric in current):
        current.insert(0, _cpu("current", {"averageUtilization": percentage}))
    if current:
        status["currentMetrics"] = current
    conditions = _load(annotations.pop(_CONDITIONS, "[]"), [])
    if conditions:
        status["conditions"] = conditions
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    return {**obj, "metadata": metadata, "spec": spec, "status": status}


def _cpu(part: str, value: Object) -> Object:
    return {"type": "Resource", "resource": {"name": "cpu", part: value}}


def _is_cpu(metric: Mapping[str, Any]) -> bool:
    return metric.get("type") == "Resource" and (metric.get("resource") or {}).get("name") == "cpu"


def _is_plain_cpu(metric: Mapping[str, Any]) -> bool:
    return _is_cpu(metric) and "currentAverageUtilization" in metric["resource"]


def _metric_to_v1(metric: Mapping[str, Any], part: str) -> Object:
    """Write a metric as autoscaling/v1 keeps it in an annotation; `part` is "target" or "current"."""
    kind = metric.get("type") or ""
    field = kind[:1].lower() + kind[1:]
    source = metric.get(field) or {}
    value, identity = source.get(part) or {}, source.get("metric") or {}
    out: Object = {}
    if kind in ("Resource", "ContainerResource"):
        out["name"] = source.get("name")
        if "container" in source:
            out["container"] = source["container"]
        _put(out, f"{part}AverageUtilization", value.get("averageUtilization"))
        _put(out, f"{part}AverageValue", value.get("averageValue"))
    else:
        out["metricName"] = identity.get("name")
        _put(out, "metricSelector" if kind == "External" else "selector", identity.get("selector"))
        if kind == "Object":
            out["target"] = source.get("describedObject")
            _put(out, "averageValue", value.get("averageValue"))
            out[f"{part}Value"] = value.get("value") or "0"
        else:
            _put(out, f"{part}AverageValue", value.get("averageValue"))
            _put(out, f"{part}Value", value.get("value"))
    return {"type": kind, field: out}


def _metric_to_v2(metric: Mapping[str, Any], part: str) -> Object:
    """Read what `_metric_to_v1` wrote."""
    kind = metric.get("type") or ""
    field = kind[:1].lower() + kind[1:]
    source = metric.get(field)
    if not isinstance(source, dict):
        return {"type": kind}
    value: Object = {}
    _put(value, "averageUtilization", source.get(f"{part}AverageUtilization"))
    _put(value, "averageValue", source.get(f"{part}AverageValue") or source.get("averageValue"))
    if source.get(f"{part}Value") not in (None, "0") or not value:
        _put(value, "value", source.get(f"{part}Value"))
    if part == "target":
        names = {"averageUtilization": "Utilization", "averageValue": "AverageValue", "value": "Value"}
        value["type"] = next((word for name, word in names.items() if name in value), "")
    out: Object = {part: value}
    if kind in ("Resource", "ContainerResource"):
        out["name"] = source.get("name")
        _put(out, "container", source.get("container"))
    else:
        identity: Object = {"name": source.get("metricName")}
        _put(identity, "selector", source.get("metricSelector") or source.get("selector"))
        out["metric"] = identity
        if kind == "Object":
            out["describedObject"] = source.get("target")
    return {"type": kind, field: out}


def _put(out: Object, key: str, value: Any) -> None:
    if value is not None:
        out[key] = value


def _with_annotations(obj: Object, annotations: Mapping[str, str]) -> Object:
    if not annotations:
        return obj
    metadata = dict(obj.get("metadata") or {})
    metadata["annotations"] = {**(metadata.get("annotations") or {}), **annotations}
    return {**obj, "metadata": metadata}


def _dump(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _load(text: str, absent: Any) -> Any:
    """Read an annotation; one that somebody else broke, or made of something else, counts as absent."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return absent
    if isinstance(absent, list):
        return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else absent
    return value if isinstance(value, dict) else absent


_CORE, _EVENTS, _V1, _V2 = "v1", "events.k8s.io/v1", "autoscaling/v1", "autoscaling/v2"
_CHANGES: Mapping[tuple[str | None, str, str], Callable[[Object], Object]] = {
    (_CORE, _EVENTS, "Event"): _renamed(_EVENT_NAMES),
    (_EVENTS, _CORE, "Event"): _renamed(_CORE_EVENT_NAMES),
    (_V1, _V2, "HorizontalPodAutoscaler"): _hpa_to_v2,
    (_V2, _V1, "HorizontalPodAutoscaler"): _hpa_to_v1,
}
