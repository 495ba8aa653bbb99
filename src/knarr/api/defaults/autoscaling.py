"""Horizontal pod autoscalers of both versions.

Source: k8s.io/kubernetes/pkg/apis/autoscaling/{v1,v2}/defaults.go (v1.37).
"""

from typing import Any

Object = dict[str, Any]

CPU_PERCENT = 80
_PERCENT_100 = {"type": "Percent", "value": 100, "periodSeconds": 15}


def horizontal_pod_autoscaler(obj: Object) -> None:
    """Set the defaults of a HorizontalPodAutoscaler by its version."""
    spec = obj.setdefault("spec", {})
    if spec.get("minReplicas") is None:
        spec["minReplicas"] = 1
    if obj.get("apiVersion") == "autoscaling/v1":
        annotations = (obj.get("metadata") or {}).get("annotations") or {}
        if "autoscaling.alpha.kubernetes.io/metrics" not in annotations:
            spec.setdefault("targetCPUUtilizationPercentage", CPU_PERCENT)
        return
    if not spec.get("metrics"):
        target = {"type": "Utilization", "averageUtilization": CPU_PERCENT}
        spec["metrics"] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = spec.get("behavior")
    if behavior is not None:
        pods = {"type": "Pods", "value": 4, "periodSeconds": 15}
        up = {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [pods, dict(_PERCENT_100)]}
        down = {"selectPolicy": "Max", "policies": [dict(_PERCENT_100)]}
        behavior["scaleUp"] = {**up, **_given(behavior.get("scaleUp"))}
        behavior["scaleDown"] = {**down, **_given(behavior.get("scaleDown"))}


def _given(rules: Object | None) -> Object:
    return {name: value for name, value in (rules or {}).items() if value is not None}
