"""What a writer is told without being refused: deprecated fields, values that will not do what they seem to.

`of` gives the Warning headers of one write, `custom` those of a custom object. A kind that is not listed has none.

Source: WarningsOnCreate and WarningsOnUpdate of k8s.io/kubernetes/pkg/registry/*/*/strategy.go (v1.37).
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from knarr.api.warnings import cluster, network, pods, volumes, workloads
from knarr.api.warnings.custom import custom

__all__ = ["custom", "of"]

Object = dict[str, Any]
Rule = Callable[[Object, Object | None], list[str]]
"""Given a new object and, for an update, the one it replaces, returns the warnings."""

TABLE: Mapping[tuple[str, str], Rule] = {
    ("", "Endpoints"): network.endpoints,
    ("", "Node"): cluster.node,
    ("", "PersistentVolume"): volumes.persistent_volume,
    ("", "PersistentVolumeClaim"): volumes.persistent_volume_claim,
    ("", "Pod"): pods.pod,
    ("", "PodTemplate"): workloads.pod_template,
    ("", "ReplicationController"): workloads.named_workload,
    ("", "Service"): network.service,
    ("", "ServiceAccount"): cluster.service_account,
    ("apps", "DaemonSet"): workloads.workload,
    ("apps", "Deployment"): workloads.named_workload,
    ("apps", "ReplicaSet"): workloads.named_workload,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("batch", "CronJob"): workloads.cron_job,
    ("batch", "Job"): workloads.job,
    ("discovery.k8s.io", "EndpointSlice"): network.endpoint_slice,
    ("networking.k8s.io", "Ingress"): network.ingress,
    ("networking.k8s.io", "NetworkPolicy"): network.network_policy,
    ("node.k8s.io", "RuntimeClass"): cluster.runtime_class,
    ("storage.k8s.io", "CSIStorageCapacity"): volumes.csi_storage_capacity,
    ("storage.k8s.io", "StorageClass"): volumes.storage_class,
}


class Kind(Protocol):
    """The part of `api.scheme.Resource` that is looked at here."""

    @property
    def group(self) -> str:
        """The API group, "" for core."""

    @property
    def kind(self) -> str:
        """The kind."""


def of(resource: Kind, obj: Object, old: Object | None = None) -> list[str]:
    """Return the warnings about a write of a whole object that is valid.

    Args:
        resource: Which kind it is of.
        obj: What will be stored.
        old: What it replaces; None if it is new.
    """
    rule = TABLE.get((resource.group, resource.kind))
    return rule(obj, old) if rule is not None else []
