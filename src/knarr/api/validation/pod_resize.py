"""Changes of a running pod's resources through `/resize`.

Source: ValidatePodResize in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import qos
from knarr.api.validation import pods, podspecs
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.containers import is_sidecar
from knarr.api.validation.equality import is_equal

_COMPUTE = ("cpu", "memory")
_ONLY_COMPUTE = "only cpu and memory resources are mutable"


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a resize: only amounts of cpu and memory change, and the class of service stays."""
    pods.check(errors, obj)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    reason = _why_not(old, before)
    if reason:
        errors.found.clear()
        errors.forbidden("[]", reason)
        return
    if ((old.get("status") or {}).get("qosClass") or qos.compute(before)) != qos.compute(spec):
        shown = (obj.get("status") or {}).get("qosClass") or ""
        errors.invalid("spec", shown, "Pod QOS Class may not change as a result of resizing")
    if any(len(spec.get(kind) or ()) != len(before.get(kind) or ()) for kind in ("containers", "initContainers")):
        errors.forbidden("spec", _ONLY_COMPUTE)
        return
    _removals(errors, spec, before)
    munged = dict(spec)
    if before.get("resources") is not None and spec.get("resources") is not None:
        munged["resources"] = _with_old_amounts(spec["resources"], before["resources"])
    for kind, what in (("containers", ""), ("initContainers", " for sidecar containers")):
        munged[kind] = before.get(kind)
        for new, was in zip(spec.get(kind) or (), before.get(kind) or (), strict=True):
            if kind == "initContainers" and not is_sidecar(new):
                if not is_equal(new, was):
                    errors.forbidden("spec", "resources for non-sidecar init containers are immutable")
                continue
            kept = {**new, "resources": _with_old_amounts(new.get("resources") or {}, was.get("resources") or {})}
            if not is_equal(kept, was):
                errors.forbidden("spec", f"only cpu and memory resources{what} are mutable")
    if not errors.found and not is_equal(munged, before):
        errors.forbidden("spec", _ONLY_COMPUTE)


def _why_not(old: Object, before: Object) -> str:
    if podspecs.MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        return "static pods cannot be resized"
    if (before.get("os") or {}).get("name") == "windows":
        return "windows pods cannot be resized"
    return ""


def _removals(errors: Errors, spec: Object, before: Object) -> None:
    pairs = [("spec.resources", spec, before)]
    for kind in ("initContainers", "containers"):
        for index, (new, was) in enumerate(zip(spec.get(kind) or (), before.get(kind) or (), strict=True)):
            if kind == "containers" or is_sidecar(was):
                pairs.append((f"spec.{kind}[{index}].resources", new, was))
    for path, new, was in pairs:
        for field, words in (("requests", "resource requests"), ("limits", "resource limits")):
            now, then = (_listed(one, field) for one in (new, was))
            if then.keys() - now.keys():
                errors.forbidden(f"{path}.{field}", f"{words} cannot be removed")


def _listed(obj: Object, field: str) -> Mapping[str, Any]:
    return (obj.get("resources") or {}).get(field) or {}


def _with_old_amounts(resources: Object, old: Object) -> Object:
    kept = {}
    for field in ("limits", "requests"):
        others = {name: value for name, value in (resources.get(field) or {}).items() if name not in _COMPUTE}
        was = {name: value for name, value in (old.get(field) or {}).items() if name in _COMPUTE}
        kept[field] = {**others, **was}
    return {**resources, **kept}
