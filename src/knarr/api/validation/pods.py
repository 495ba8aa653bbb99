"""Pods: what a new one must be, and which changes they allow.

Source: ValidatePodCreate, ValidatePodUpdate and others in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.validation import containers, podspecs, scheduling, security
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import format_diff, is_equal

_INT32_MAX = (1 << 31) - 1
_CHANGEABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def create(errors: Errors, obj: Object) -> None:
    """Check a new pod."""
    spec = obj.get("spec") or {}
    check(errors, obj)
    if spec.get("ephemeralContainers"):
        errors.forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        errors.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared")
    notes = (obj.get("metadata") or {}).get("annotations") or {}
    if notes:
        security.agreement(errors, notes, spec, podspecs.all_containers(spec, "spec"), "spec")


def check(errors: Errors, obj: Object) -> None:
    """Check what holds for a pod at any time."""
    about, spec = obj.get("metadata") or {}, obj.get("spec") or {}
    podspecs.annotations(errors, about.get("annotations") or {}, spec, "metadata.annotations")
    podspecs.check(errors, spec, "spec", pod_name=about.get("name") or "", is_pod=True)
    if not spec.get("serviceAccountName"):
        for index, volume in enumerate(spec.get("volumes") or ()):
            for position, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
                if source.get("serviceAccountToken") is not None:
                    here = f"spec.volumes[{index}].projected.sources[{position}].serviceAccountToken"
                    errors.forbidden(here, "must not be specified when serviceAccountName is not set")
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(spec.get(kind) or ()):
            containers.image_is_trimmed(errors, container, f"spec.{kind}[{index}]")


def annotation_changes(errors: Errors, obj: Object, old: Object) -> None:
    """Check that annotations which the node relies on stay."""
    now, then = ((one.get("metadata") or {}).get("annotations") or {} for one in (obj, old))
    for verb, keys in (("remove or update", then), ("add", now)):
        for key in keys:
            if (now.get(key) == then.get(key)) or (verb == "add" and key in then):
                continue
            here = f"metadata.annotations[{key}]"
            if security.is_app_armor(key):
                errors.forbidden(here, f"may not {verb} AppArmor annotations")
            if key == podspecs.MIRROR:
                errors.forbidden(here, f"may not {verb} mirror pod annotation")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a pod, of which little may change."""
    check(errors, obj)
    annotation_changes(errors, obj, old)
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        listed = spec.get(kind) or []
        if len(listed) != len(before.get(kind) or ()):
            errors.forbidden(f"spec.{kind}", "pod updates may not add or remove containers")
            return
    if not _deadline(errors, spec.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")):
        return
    _tolerations(errors, spec.get("tolerations") or [], before.get("tolerations") or [])
    _gates(errors, spec.get("schedulingGates") or [], before.get("schedulingGates") or [])
    if is_equal(spec, before):
        return
    munged = _munge(errors, spec, before)
    if not is_equal(munged, before):
        listed_fields = ",".join(_CHANGEABLE)
        words = f"pod updates may not change fields other than {listed_fields}\n{format_diff(before, munged)}"
        errors.forbidden("spec", words)


def _munge(errors: Errors, spec: Object, before: Object) -> Object:
    # What may change takes the old value; what is left must be equal.
    munged = dict(spec)
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            munged[kind] = [
                {**new, "image": was.get("image")} for new, was in zip(spec[kind], before[kind], strict=True)
            ]
    for field in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        munged[field] = before.get(field)
    grace = before.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and munged.get("terminationGracePeriodSeconds") == 1:
        munged["terminationGracePeriodSeconds"] = grace
    if before.get("schedulingGates"):
        _munge_gated(errors, munged, before)
    return {field: value for field, value in munged.items() if value is not None}


def _munge_gated(errors: Errors, munged: Object, before: Object) -> None:
    # A pod that is not scheduled yet may be narrowed down.
    selector, was = munged.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if selector != was:
        if any(selector.get(key) != value for key, value in was.items()):
            words = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            errors.invalid("spec.nodeSelector", selector, words)
        munged["nodeSelector"] = before.get("nodeSelector")
    new_affinity, old_affinity = munged.get("affinity"), before.get("affinity")
    new_node, old_node = (new_affinity or {}).get("nodeAffinity"), (old_affinity or {}).get("nodeAffinity")
    if not is_equal(new_node, old_node):
        _node_affinity(errors, new_node or {}, old_node or {})
        munged["affinity"] = {**(new_affinity or {}), "nodeAffinity": old_node}
        if old_affinity is None and not any(munged["affinity"].values()):
            munged["affinity"] = None


def _node_affinity(errors: Errors, new: Object, old: Object) -> None:
    path = f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms"
    before = (old.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    terms = (new.get(_REQUIRED) or {}).get("nodeSelectorTerms") or []
    if not before:
        return
    if len(before) != len(terms):
        errors.invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")
        return
    for index, (term, was) in enumerate(zip(terms, before, strict=True)):
        if not _only_adds(term, was):
            errors.invalid(f"{path}[{index}]", term, "only additions are allowed (no mutations or deletions)")


def _only_adds(term: Object, was: Object) -> bool:
    fields = ("matchExpressions", "matchFields")
    if not any(was.get(field) for field in fields):
        return not any(term.get(field) for field in fields)
    return all(is_equal((term.get(field) or [])[: len(was.get(field) or [])], was.get(field) or []) for field in fields)


def _deadline(errors: Errors, value: int | None, old: int | None) -> bool:
    path = "spec.activeDeadlineSeconds"
    if value is None:
        if old is not None:
            errors.invalid(path, None, "must not update from a positive integer to nil value")
        return True
    if not 0 <= value <= _INT32_MAX:
        errors.invalid(path, value, names.format_range(0, _INT32_MAX))
        return False
    if old is not None and old < value:
        errors.invalid(path, value, "must be less than or equal to previous value")
        return False
    return True


def _tolerations(errors: Errors, values: list[Object], old: list[Object]) -> None:
    def without_time(toleration: Object) -> dict[str, Any]:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds" and value}

    kept = [without_time(one) for one in values]
    if any(without_time(one) not in kept for one in old):
        words = "existing toleration can not be modified except its tolerationSeconds"
        errors.forbidden("spec.tolerations", words)
        return
    scheduling.tolerations(errors, values, "spec.tolerations")


def _gates(errors: Errors, gates: list[Object], old: list[Object]) -> None:
    known = {gate.get("name") for gate in old}
    for index, gate in enumerate(gates):
        if gate.get("name") not in known:
            words = f"only deletion is allowed, but found new scheduling gate '{gate.get('name') or ''}'"
            errors.forbidden(f"spec.schedulingGates[{index}].name", words)


def ephemeral_containers(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change through `/ephemeralcontainers`: they can be added alone."""
    check(errors, obj)
    annotation_changes(errors, obj, old)
    if podspecs.MIRROR in ((old.get("metadata") or {}).get("annotations") or {}):
        errors.found.clear()
        errors.forbidden("[]", "static pods do not support ephemeral containers")
        return
    path = "spec.ephemeralContainers"
    now = {one.get("name"): one for one in (obj.get("spec") or {}).get("ephemeralContainers") or ()}
    for was in (old.get("spec") or {}).get("ephemeralContainers") or ():
        name = was.get("name") or ""
        if name not in now:
            errors.forbidden(path, f'existing ephemeral containers "{name}" may not be removed\n')
        elif not is_equal(was, now[name]):
            difference = format_diff(was, now[name])
            errors.forbidden(path, f'existing ephemeral containers "{name}" may not be changed\n{difference}')


def binding(errors: Errors, obj: Object) -> None:
    """Check a Binding of a pod to a node."""
    target = obj.get("target") or {}
    if target.get("kind") not in {None, "", "Node"}:
        errors.unsupported("target.kind", target["kind"], ("Node", "<empty>"))
    if not target.get("name"):
        errors.required("target.name")
