"""ReplicationControllers and PodTemplates.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from knarr.api.validation import podspecs
from knarr.api.validation.collector import Errors, Object

_REPLICAS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def controller(errors: Errors, obj: Object) -> None:
    """Check a ReplicationController."""
    spec = obj.get("spec") or {}
    errors.not_negative("spec.minReadySeconds", spec.get("minReadySeconds"))
    selector, template = spec.get("selector") or {}, spec.get("template")
    if not selector:
        errors.required("spec.selector")
    errors.not_negative("spec.replicas", spec.get("replicas"))
    if template is None:
        errors.required("spec.template")
        return
    labels = (template.get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in selector.items()):
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    podspecs.pod_template(errors, template, "spec.template")
    always_restarting(errors, template.get("spec") or {}, "spec.template.spec", "ReplicationController")


def always_restarting(errors: Errors, spec: Object, path: str, kind: str) -> None:
    """Check that pods of a template run for good."""
    policy = spec.get("restartPolicy") or ""
    if policy != "Always":
        errors.unsupported(f"{path}.restartPolicy", policy, ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        errors.forbidden(f"{path}.activeDeadlineSeconds", f"activeDeadlineSeconds in {kind} is not Supported")


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the numbers in the status of a ReplicationController or ReplicaSet."""
    values = obj.get("status") or {}
    errors.not_negatives(values, "status", *_REPLICAS)
    count = {name: values.get(name) or 0 for name in _REPLICAS}
    for name in _REPLICAS[1:4]:
        if count[name] > count["replicas"]:
            errors.invalid(f"status.{name}", count[name], "cannot be greater than status.replicas")
    if count["availableReplicas"] > count["readyReplicas"]:
        words = "cannot be greater than readyReplicas"
        errors.invalid("status.availableReplicas", count["availableReplicas"], words)


def template(errors: Errors, obj: Object) -> None:
    """Check a PodTemplate."""
    podspecs.pod_template(errors, obj.get("template") or {}, "template")
