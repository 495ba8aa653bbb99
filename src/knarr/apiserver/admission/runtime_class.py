"""RuntimeClass: what a runtime costs and where it can be had becomes part of the pod.

Upstream counterpart: plugin/pkg/admission/runtimeclass (v1.37).
"""

from knarr.api import amounts
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest, Context, Object, Plugin

RESOURCE = "runtimeclasses.node.k8s.io"


def build(context: Context) -> Plugin:
    """Make the plugin."""

    def find(request: AdmissionRequest, spec: Object) -> Object | None:
        name = spec.get("runtimeClassName")
        if not name:
            return None
        found = context.registry.get(RESOURCE, "", name)
        if found is None:
            raise request.forbidden(f'pod rejected: RuntimeClass "{name}" not found')
        return found

    async def admit(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object["spec"]
        found = find(request, spec)
        if found is not None:
            _set_overhead(request, spec, found)
            _set_scheduling(request, spec, found.get("scheduling") or {})

    async def validate(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object["spec"]
        found = find(request, spec)
        fixed = ((found or {}).get("overhead") or {}).get("podFixed")
        if spec.get("overhead") and not fixed:
            raise request.forbidden(
                "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            )
        if fixed and not _is_equal(spec.get("overhead") or {}, fixed):
            raise request.forbidden(_MISMATCH)

    return Plugin("RuntimeClass", frozenset({CREATE}), frozenset({"pods"}), admit=admit, validate=validate)


_MISMATCH = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"


def _is_equal(one: Object, other: Object) -> bool:
    return one.keys() == other.keys() and all(amounts.nanos(one[key]) == amounts.nanos(other[key]) for key in one)


def _set_overhead(request: AdmissionRequest, spec: Object, found: Object) -> None:
    fixed = (found.get("overhead") or {}).get("podFixed")
    if not fixed:
        return
    if spec.get("overhead") and not _is_equal(spec["overhead"], fixed):
        raise request.forbidden(_MISMATCH)
    spec["overhead"] = dict(fixed)


def _set_scheduling(request: AdmissionRequest, spec: Object, scheduling: Object) -> None:
    selector = spec.get("nodeSelector") or {}
    for key, value in (scheduling.get("nodeSelector") or {}).items():
        if selector.get(key, value) != value:
            raise request.forbidden(
                f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                f"pod.spec.nodeSelector[{key}] = {selector[key]}"
            )
        spec["nodeSelector"] = selector = {**selector, key: value}
    tolerations = spec.get("tolerations") or []
    missing = [dict(one) for one in scheduling.get("tolerations") or () if one not in tolerations]
    if missing:
        spec["tolerations"] = [*tolerations, *missing]
