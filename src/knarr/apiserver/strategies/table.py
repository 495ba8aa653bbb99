"""Which kind has which strategy. A built-in kind without a row is plain; a custom one has the strategy of custom resources."""

from collections.abc import Mapping

from knarr.api.scheme import Resource
from knarr.apiserver.customresources.strategy import CUSTOM, DEFINITIONS
from knarr.apiserver.strategies import claims, kinds, volumes
from knarr.apiserver.strategies.pods import PODS
from knarr.apiserver.strategies.services import SERVICES
from knarr.apiserver.strategies.strategy import Strategy

TABLE: Mapping[tuple[str, str], Strategy] = {
    ("", "Pod"): PODS,
    ("", "Service"): SERVICES,
    ("", "Namespace"): kinds.NAMESPACES,
    ("", "Node"): kinds.NODES,
    ("", "PersistentVolume"): volumes.VOLUMES,
    ("", "PersistentVolumeClaim"): volumes.CLAIMS,
    ("", "ReplicationController"): kinds.REPLICATION_CONTROLLERS,
    ("", "PodTemplate"): Strategy(has_generation=True, returns_deleted=True),
    ("", "Endpoints"): kinds.UPSERTED,
    ("", "Event"): kinds.UPSERTED,
    ("", "LimitRange"): kinds.UPSERTED,
    ("", "ServiceAccount"): kinds.SERVICE_ACCOUNTS,
    ("", "ResourceQuota"): kinds.RETURNED,
    ("apps", "Deployment"): kinds.DEPLOYMENTS,
    ("apps", "ReplicaSet"): kinds.WORKLOADS,
    ("apps", "StatefulSet"): kinds.WORKLOADS,
    ("apps", "DaemonSet"): kinds.WORKLOADS,
    ("batch", "Job"): kinds.JOBS,
    ("batch", "CronJob"): kinds.COUNTED,
    ("certificates.k8s.io", "CertificateSigningRequest"): kinds.CERTIFICATE_REQUESTS,
    ("coordination.k8s.io", "Lease"): kinds.LEASES,
    ("discovery.k8s.io", "EndpointSlice"): kinds.ENDPOINT_SLICES,
    ("networking.k8s.io", "Ingress"): kinds.COUNTED,
    ("networking.k8s.io", "IngressClass"): kinds.COUNTED,
    ("networking.k8s.io", "NetworkPolicy"): kinds.COUNTED,
    ("policy", "PodDisruptionBudget"): kinds.COUNTED,
    ("rbac.authorization.k8s.io", "Role"): kinds.UPSERTED,
    ("rbac.authorization.k8s.io", "RoleBinding"): kinds.UPSERTED,
    ("rbac.authorization.k8s.io", "ClusterRole"): kinds.UPSERTED,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): kinds.UPSERTED,
    ("scheduling.k8s.io", "PriorityClass"): kinds.PRIORITY_CLASSES,
    ("resource.k8s.io", "DeviceClass"): kinds.COUNTED,
    ("resource.k8s.io", "ResourceSlice"): kinds.COUNTED,
    ("resource.k8s.io", "ResourceClaim"): claims.CLAIMS,
    ("resource.k8s.io", "ResourceClaimTemplate"): claims.TEMPLATES,
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"): kinds.COUNTED_CONDITIONAL,
    ("admissionregistration.k8s.io", "MutatingWebhookConfiguration"): kinds.COUNTED_CONDITIONAL,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy"): kinds.COUNTED_CONDITIONAL,
    ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding"): kinds.COUNTED_CONDITIONAL,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicy"): kinds.COUNTED_CONDITIONAL,
    ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding"): kinds.COUNTED_CONDITIONAL,
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): kinds.COUNTED_CONDITIONAL,
    ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration"): kinds.COUNTED_CONDITIONAL,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): DEFINITIONS,
    ("apiregistration.k8s.io", "APIService"): kinds.CONDITIONAL,
    ("node.k8s.io", "RuntimeClass"): kinds.CONDITIONAL,
    ("storage.k8s.io", "VolumeAttachment"): kinds.CONDITIONAL,
    ("storage.k8s.io", "CSIDriver"): kinds.COUNTED_CONDITIONAL,
}


def of(resource: Resource) -> Strategy:
    """Return the strategy of a kind."""
    if resource.custom:
        return CUSTOM
    return TABLE.get((resource.group, resource.kind), kinds.PLAIN)


def is_built_in(resource: Resource) -> bool:
    """Return whether a kind is Kubernetes' own rather than defined by a CustomResourceDefinition."""
    return not resource.custom
