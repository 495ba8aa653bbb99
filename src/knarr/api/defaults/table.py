"""Which function sets the defaults of which kind. Kinds that upstream gives no defaults are not listed."""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.api.defaults import (
    admission,
    autoscaling,
    batch,
    cluster,
    control_plane,
    pods,
    rbac,
    services,
    storage,
    workloads,
)

_ADMISSION = "admissionregistration.k8s.io"
_NETWORKING = "networking.k8s.io"
_STORAGE = "storage.k8s.io"
_RESOURCE = "resource.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"

TABLE: Mapping[tuple[str, str], Callable[[dict[str, Any]], None]] = {
    ("", "Endpoints"): services.endpoints,
    ("", "LimitRange"): cluster.limit_range,
    ("", "Namespace"): cluster.namespace,
    ("", "Node"): cluster.node,
    ("", "PersistentVolume"): storage.persistent_volume,
    ("", "PersistentVolumeClaim"): storage.persistent_volume_claim,
    ("", "Pod"): pods.pod,
    ("", "PodTemplate"): pods.pod_template,
    ("", "ReplicationController"): workloads.replication_controller,
    ("", "ResourceQuota"): cluster.resource_quota,
    ("", "Secret"): cluster.secret,
    ("", "Service"): services.service,
    (_ADMISSION, "MutatingAdmissionPolicy"): admission.policy,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): admission.policy_binding,
    (_ADMISSION, "MutatingWebhookConfiguration"): admission.mutating_webhooks,
    (_ADMISSION, "ValidatingAdmissionPolicy"): admission.policy,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): admission.policy_binding,
    (_ADMISSION, "ValidatingWebhookConfiguration"): admission.validating_webhooks,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): admission.custom_resource_definition,
    ("apiregistration.k8s.io", "APIService"): admission.api_service,
    ("apps", "DaemonSet"): workloads.daemon_set,
    ("apps", "Deployment"): workloads.deployment,
    ("apps", "ReplicaSet"): workloads.replica_set,
    ("apps", "StatefulSet"): workloads.stateful_set,
    ("authentication.k8s.io", "TokenRequest"): control_plane.token_request,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.horizontal_pod_autoscaler,
    ("batch", "CronJob"): batch.cron_job,
    ("batch", "Job"): batch.job,
    ("certificates.k8s.io", "PodCertificateRequest"): control_plane.pod_certificate_request,
    ("discovery.k8s.io", "EndpointSlice"): services.endpoint_slice,
    (_FLOW, "FlowSchema"): control_plane.flow_schema,
    (_FLOW, "PriorityLevelConfiguration"): control_plane.priority_level,
    (_NETWORKING, "Ingress"): services.ingress,
    (_NETWORKING, "IngressClass"): services.ingress_class,
    (_NETWORKING, "NetworkPolicy"): services.network_policy,
    ("node.k8s.io", "RuntimeClass"): control_plane.runtime_class,
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"): rbac.binding,
    ("rbac.authorization.k8s.io", "RoleBinding"): rbac.binding,
    (_RESOURCE, "ResourceClaim"): control_plane.resource_claim,
    (_RESOURCE, "ResourceClaimTemplate"): control_plane.resource_claim_template,
    ("scheduling.k8s.io", "PriorityClass"): control_plane.priority_class,
    (_STORAGE, "CSIDriver"): storage.csi_driver,
    (_STORAGE, "StorageClass"): storage.storage_class,
    (_STORAGE, "VolumeAttachment"): storage.volume_attachment,
}
