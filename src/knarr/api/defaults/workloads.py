"""Controllers that run pods for ever: groups apps and core.

Source: k8s.io/kubernetes/pkg/apis/apps/v1/defaults.go and pkg/apis/core/v1/defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import pods, volumes

Object = dict[str, Any]


def _fill(obj: Object, **values: Any) -> None:
    for name, value in values.items():
        if obj.get(name) is None:
            obj[name] = value


def deployment(obj: Object) -> None:
    """Set the defaults of a Deployment."""
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1, revisionHistoryLimit=10, progressDeadlineSeconds=600, strategy={})
    strategy = spec["strategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        _fill(strategy["rollingUpdate"], maxUnavailable="25%", maxSurge="25%")
    pods.template(spec.setdefault("template", {}))


def replica_set(obj: Object) -> None:
    """Set the defaults of a ReplicaSet."""
    spec = obj.setdefault("spec", {})
    _fill(spec, replicas=1)
    pods.template(spec.setdefault("template", {}))


def replication_controller(obj: Object) -> None:
    """Set the defaults of a ReplicationController, whose selector and labels follow its template's labels."""
    spec = obj.setdefault("spec", {})
    template = spec.get("template")
    labels = ((template or {}).get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        metadata = obj.setdefault("metadata", {})
        if not metadata.get("labels"):
            metadata["labels"] = dict(labels)
    _fill(spec, replicas=1)
    pods.template(template)


def stateful_set(obj: Object) -> None:
    """Set the defaults of a StatefulSet."""
    spec = obj.setdefault("spec", {})
    if not spec.get("podManagementPolicy"):
        spec["podManagementPolicy"] = "OrderedReady"
    _fill(spec, replicas=1, revisionHistoryLimit=10, updateStrategy={}, persistentVolumeClaimRetentionPolicy={})
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        _fill(strategy["rollingUpdate"], partition=0, maxUnavailable=1)
    policy = spec["persistentVolumeClaimRetentionPolicy"]
    for when in ("whenDeleted", "whenScaled"):
        if not policy.get(when):
            policy[when] = "Retain"
    for claim in spec.get("volumeClaimTemplates") or ():
        claim["apiVersion"], claim["kind"] = "v1", "PersistentVolumeClaim"
        volumes.claim_spec(claim.setdefault("spec", {}))
        status = claim.setdefault("status", {})
        if not status.get("phase"):
            status["phase"] = "Pending"
    pods.template(spec.setdefault("template", {}))


def daemon_set(obj: Object) -> None:
    """Set the defaults of a DaemonSet."""
    spec = obj.setdefault("spec", {})
    _fill(spec, revisionHistoryLimit=10, updateStrategy={})
    strategy = spec["updateStrategy"]
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
    if strategy["type"] == "RollingUpdate":
        _fill(strategy, rollingUpdate={})
        _fill(strategy["rollingUpdate"], maxUnavailable=1, maxSurge=0)
    pods.template(spec.setdefault("template", {}))
