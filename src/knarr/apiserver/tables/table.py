"""Which printer shows which kind."""

from collections.abc import Mapping

from knarr.apiserver.tables import access, autoscaling, cluster, network, pods, storage, workloads
from knarr.apiserver.tables.columns import Printer

_ADMISSION = "admissionregistration.k8s.io"
_FLOW = "flowcontrol.apiserver.k8s.io"
_NETWORKING = "networking.k8s.io"
_RBAC = "rbac.authorization.k8s.io"
_RESOURCE = "resource.k8s.io"
_STORAGE = "storage.k8s.io"

PRINTERS: Mapping[tuple[str, str], Printer] = {
    ("", "ComponentStatus"): cluster.COMPONENT_STATUS,
    ("", "ConfigMap"): cluster.CONFIG_MAP,
    ("", "Endpoints"): network.ENDPOINTS,
    ("", "Event"): cluster.EVENT,
    ("", "LimitRange"): access.CREATED,
    ("", "Namespace"): cluster.NAMESPACE,
    ("", "Node"): cluster.NODE,
    ("", "PersistentVolume"): storage.PERSISTENT_VOLUME,
    ("", "PersistentVolumeClaim"): storage.PERSISTENT_VOLUME_CLAIM,
    ("", "Pod"): pods.POD,
    ("", "PodTemplate"): pods.POD_TEMPLATE,
    ("", "ReplicationController"): workloads.REPLICATION_CONTROLLER,
    ("", "ResourceQuota"): cluster.RESOURCE_QUOTA,
    ("", "Secret"): cluster.SECRET,
    ("", "Service"): network.SERVICE,
    ("", "ServiceAccount"): cluster.PLAIN,
    (_ADMISSION, "MutatingAdmissionPolicy"): access.MUTATING_POLICY,
    (_ADMISSION, "MutatingAdmissionPolicyBinding"): access.POLICY_BINDING,
    (_ADMISSION, "MutatingWebhookConfiguration"): access.WEBHOOKS,
    (_ADMISSION, "ValidatingAdmissionPolicy"): access.VALIDATING_POLICY,
    (_ADMISSION, "ValidatingAdmissionPolicyBinding"): access.POLICY_BINDING,
    (_ADMISSION, "ValidatingWebhookConfiguration"): access.WEBHOOKS,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): access.CREATED,
    ("apiregistration.k8s.io", "APIService"): access.API_SERVICE,
    ("apps", "ControllerRevision"): workloads.CONTROLLER_REVISION,
    ("apps", "DaemonSet"): workloads.DAEMON_SET,
    ("apps", "Deployment"): workloads.DEPLOYMENT,
    ("apps", "ReplicaSet"): workloads.REPLICA_SET,
    ("apps", "StatefulSet"): workloads.STATEFUL_SET,
    ("autoscaling", "HorizontalPodAutoscaler"): autoscaling.HORIZONTAL_POD_AUTOSCALER,
    ("autoscaling", "Scale"): workloads.SCALE,
    ("batch", "CronJob"): workloads.CRON_JOB,
    ("batch", "Job"): workloads.JOB,
    ("certificates.k8s.io", "CertificateSigningRequest"): access.SIGNING_REQUEST,
    ("coordination.k8s.io", "Lease"): cluster.LEASE,
    ("discovery.k8s.io", "EndpointSlice"): network.ENDPOINT_SLICE,
    ("events.k8s.io", "Event"): cluster.EVENT,
    (_FLOW, "FlowSchema"): cluster.FLOW_SCHEMA,
    (_FLOW, "PriorityLevelConfiguration"): cluster.PRIORITY_LEVEL,
    (_NETWORKING, "IPAddress"): network.IP_ADDRESS,
    (_NETWORKING, "Ingress"): network.INGRESS,
    (_NETWORKING, "IngressClass"): network.INGRESS_CLASS,
    (_NETWORKING, "NetworkPolicy"): network.NETWORK_POLICY,
    (_NETWORKING, "ServiceCIDR"): network.SERVICE_CIDR,
    ("node.k8s.io", "RuntimeClass"): cluster.RUNTIME_CLASS,
    ("policy", "PodDisruptionBudget"): workloads.POD_DISRUPTION_BUDGET,
    (_RBAC, "ClusterRole"): access.CREATED,
    (_RBAC, "ClusterRoleBinding"): access.BINDING,
    (_RBAC, "Role"): access.CREATED,
    (_RBAC, "RoleBinding"): access.BINDING,
    (_RESOURCE, "DeviceClass"): cluster.PLAIN,
    (_RESOURCE, "ResourceClaim"): access.RESOURCE_CLAIM,
    (_RESOURCE, "ResourceClaimTemplate"): cluster.PLAIN,
    (_RESOURCE, "ResourceSlice"): access.RESOURCE_SLICE,
    ("scheduling.k8s.io", "PriorityClass"): cluster.PRIORITY_CLASS,
    (_STORAGE, "CSIDriver"): storage.CSI_DRIVER,
    (_STORAGE, "CSINode"): storage.CSI_NODE,
    (_STORAGE, "CSIStorageCapacity"): storage.CSI_STORAGE_CAPACITY,
    (_STORAGE, "StorageClass"): storage.STORAGE_CLASS,
    (_STORAGE, "VolumeAttachment"): storage.VOLUME_ATTACHMENT,
    (_STORAGE, "VolumeAttributesClass"): storage.VOLUME_ATTRIBUTES_CLASS,
}
