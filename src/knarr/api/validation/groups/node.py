"""RuntimeClasses.

Source: k8s.io/kubernetes/pkg/apis/node/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation import meta, resources, scheduling
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.rules import Rules


def runtime_class(errors: Errors, obj: Object) -> None:
    """Check a RuntimeClass."""
    handler = obj.get("handler") or ""
    errors.all_invalid("handler", handler, names.dns_label(handler))
    fixed = (obj.get("overhead") or {}).get("podFixed")
    if fixed:
        resources.container_requirements(errors, {"limits": fixed}, set(), "overhead")
    placement = obj.get("scheduling") or {}
    meta.labels(errors, placement.get("nodeSelector"), "scheduling.nodeSelector")
    tolerations = placement.get("tolerations") or []
    scheduling.tolerations(errors, tolerations, "scheduling.tolerations")
    for index, toleration in enumerate(tolerations):
        if any(is_equal(toleration, other) for other in tolerations[:index]):
            errors.duplicate(f"scheduling.tolerations[{index}]", toleration)


def _update(errors: Errors, obj: Object, old: Object) -> None:
    runtime_class(errors, obj)
    immutable(errors, "handler", obj.get("handler"), old.get("handler"))


RULES: Mapping[tuple[str, str], Rules] = {("node.k8s.io", "RuntimeClass"): Rules(runtime_class, _update)}
