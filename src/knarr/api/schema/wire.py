"""What the OpenAPI definitions leave out of Go's types: which fields are pointers, which are always written, named types.

Go drops an empty value on writing if the field is no pointer, and always writes structs that are no pointers; both shows in
what clients read back. A scalar that is not listed here counts as a pointer where dropping its zero would lose meaning.

Source: the wire format of k8s.io/api/*/v1 and k8s.io/apimachinery meta/v1 (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one field besides its schema.

    Attributes:
        always: Whether Go writes it even if it is absent; None leaves it to the schema's `required`.
        pointer: Whether an empty value differs from an absent one; None leaves it to the type.
        default: What an absent list key means.
        go_name: The named Go type.
    """

    always: bool | None = None
    pointer: bool | None = None
    default: Any = None
    go_name: str = ""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


EMPTY_STRUCTS = _names("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceStatus")

_VALUE_BOOLS = _names("""
    hostNetwork hostPID hostIPC stdin stdinOnce tty readOnly paused publishNotReadyAddresses unschedulable globalDefault
    ready isDefault served storage clusterScope nonResource insecureSkipTLSVerify allowed denied incomplete authenticated
    leaderElect tTY container stdout stderr follow previous timestamps
""")
_VALUE_INTS = _names("""
    minReadySeconds hostPort initialDelaySeconds timeoutSeconds periodSeconds successThreshold failureThreshold nodePort
    healthCheckNodePort generation observedGeneration count signal availableReplicas readyReplicas fullyLabeledReplicas
    updatedReplicas unavailableReplicas currentReplicas active succeeded failed numberUnavailable updatedNumberScheduled
    numberAvailable replicas targetCPUUtilizationPercentage pdID iteration restartCount
""")
_POINTER_STRINGS = _names("""
    storageClassName ingressClassName loadBalancerClass runtimeClassName appProtocol zone url volumeAttributesClassName
    currentVolumeAttributesClassName targetVolumeAttributesClassName holderIdentity persistentVolumeName
    gmsaCredentialSpec gmsaCredentialSpecName runAsUserName localhostProfile resourceClaimName resourceClaimTemplateName
    secretNamespace preferredHolder strategy denialMessage defaultStrategy matchPolicy failurePolicy sideEffects scope
    preemptionPolicy volumeMode concurrencyPolicy completionMode podReplacementPolicy managedBy unhealthyPodEvictionPolicy
    internalTrafficPolicy externalTrafficPolicy sessionAffinity ipFamilyPolicy trafficDistribution mountPropagation
    recursiveReadOnly nodeInclusionPolicy nodeAffinityPolicy nodeTaintsPolicy expectedPodUID
    terminationMessagePolicy selectPolicy procMount seccompProfile supplementalGroupsPolicy fsGroupChangePolicy seLinuxChangePolicy
    attachmentType volumeBindingMode reclaimPolicy pathType fsGroupPolicy hostnameOverride
""")

# Strings that are plain in most types and pointers in these.
_POINTER_FIELDS = {
    "Endpoint": "hostname nodeName zone",
    "EndpointAddress": "nodeName",
    "EndpointPort": "name protocol appProtocol",
    "GRPCAction": "service",
    "ServiceReference": "path",
    "TypedLocalObjectReference": "apiGroup",
    "TypedObjectReference": "apiGroup namespace",
    "IngressClassParametersReference": "apiGroup namespace scope",
    "NetworkPolicyPort": "protocol",
    "PodDNSConfigOption": "value",
    "HTTPIngressPath": "pathType",
    "HostPathVolumeSource": "type",
    "CSIVolumeSource": "fsType",
    "AzureDiskVolumeSource": "fsType cachingMode kind",
    "ISCSIVolumeSource": "initiatorName",
    "ISCSIPersistentVolumeSource": "initiatorName",
    "LocalVolumeSource": "fsType",
    "ContainerStatus": "stopSignal",
    "Lifecycle": "stopSignal",
    "JSONSchemaProps": "xListType xMapType",
    "Rule": "scope",
    "ClusterTrustBundleProjection": "name signerName",
    "PersistentVolumeClaimStatus": "currentVolumeAttributesClassName",
    "PersistentVolumeSpec": "volumeAttributesClassName",
    "AppArmorProfile": "localhostProfile",
    "PodStatus": "resourceClaimStatuses",
}
_POINTER_BOOL_FIELDS = {
    "AzureDiskVolumeSource": "readOnly",
    "CSIVolumeSource": "readOnly",
    "EndpointConditions": "ready serving terminating",
}
_POINTER_INT_FIELDS = {
    "DeploymentSpec": "replicas",
    "ReplicaSetSpec": "replicas",
    "ReplicationControllerSpec": "replicas",
    "StatefulSetSpec": "replicas",
    "MutatingWebhook": "timeoutSeconds",
    "ValidatingWebhook": "timeoutSeconds",
    "ClientIPConfig": "timeoutSeconds",
    "JobStatus": "ready terminating",
}

# Structs that are no pointers: written as {} even if nothing is in them.
_ALWAYS = {
    "Container": "resources",
    "EphemeralContainer": "resources",
    "ContainerStatus": "state lastState",
    "DeploymentSpec": "strategy",
    "DaemonSetSpec": "updateStrategy",
    "StatefulSetSpec": "updateStrategy",
    "ServiceStatus": "loadBalancer",
    "IngressStatus": "loadBalancer",
    "NodeStatus": "daemonEndpoints nodeInfo",
    "NodeDaemonEndpoints": "kubeletEndpoint",
    "PersistentVolumeClaimSpec": "resources",
    "Event": "source",
    "NetworkPolicySpec": "podSelector",
    "Endpoint": "conditions",
    "PodTemplate": "template",
    "CustomResourceDefinitionStatus": "acceptedNames",
    "PodDisruptionBudgetStatus": "currentHealthy desiredHealthy disruptionsAllowed expectedPods",
    "RoleRef": "apiGroup",
}
_NEVER = {
    "DeploymentSpec": "selector",
    "DaemonSetSpec": "selector",
    "ReplicaSetSpec": "selector template",
    "StatefulSetSpec": "selector",
    "IPAddressSpec": "parentRef",
    "ScaleIOVolumeSource": "secretRef",
    "ScaleIOPersistentVolumeSource": "secretRef",
    "ReplicationControllerSpec": "template",
}

# Times that are no pointers: written as null while unset.
_NULL_TIMES = {
    "PodCondition": "lastProbeTime lastTransitionTime",
    "Event": "firstTimestamp lastTimestamp eventTime",
    "ContainerStateTerminated": "startedAt finishedAt",
    "ContainerStateRunning": "startedAt",
    "NodeCondition": "lastHeartbeatTime lastTransitionTime",
    "DeploymentCondition": "lastUpdateTime lastTransitionTime",
    "ReplicaSetCondition": "lastTransitionTime",
    "StatefulSetCondition": "lastTransitionTime",
    "DaemonSetCondition": "lastTransitionTime",
    "ReplicationControllerCondition": "lastTransitionTime",
    "JobCondition": "lastProbeTime lastTransitionTime",
    "PersistentVolumeClaimCondition": "lastProbeTime lastTransitionTime",
    "NamespaceCondition": "lastTransitionTime",
    "HorizontalPodAutoscalerCondition": "lastTransitionTime",
    "CustomResourceDefinitionCondition": "lastTransitionTime",
    "APIServiceCondition": "lastTransitionTime",
    "CertificateSigningRequestCondition": "lastUpdateTime lastTransitionTime",
}

_DEFAULTS = {("ContainerPort", "protocol"): "TCP", ("ServicePort", "protocol"): "TCP"}

# Object metadata, spec and status are structs in every kind, pointers in these.
_POINTER_PARTS = {
    ("PersistentVolumeClaimVolumeSource", "spec"),
    ("ReplicaSetSpec", "template"),
    ("CustomResourceSubresources", "status"),
}

_GO_NAMES: Mapping[tuple[str, str], str] = {
    ("Container", "imagePullPolicy"): "v1.PullPolicy",
    ("Container", "terminationMessagePolicy"): "v1.TerminationMessagePolicy",
    ("ContainerPort", "protocol"): "v1.Protocol",
    ("ServicePort", "protocol"): "v1.Protocol",
    ("PodSpec", "restartPolicy"): "v1.RestartPolicy",
    ("PodSpec", "dnsPolicy"): "v1.DNSPolicy",
    ("ServiceSpec", "type"): "v1.ServiceType",
    ("ServiceSpec", "sessionAffinity"): "v1.ServiceAffinity",
    ("ServiceSpec", "externalTrafficPolicy"): "v1.ServiceExternalTrafficPolicy",
    ("ResourceRequirements", "limits"): "v1.ResourceList",
    ("ResourceRequirements", "requests"): "v1.ResourceList",
    ("VolumeResourceRequirements", "limits"): "v1.ResourceList",
    ("VolumeResourceRequirements", "requests"): "v1.ResourceList",
    ("PersistentVolumeSpec", "capacity"): "v1.ResourceList",
    ("ResourceQuotaSpec", "hard"): "v1.ResourceList",
    ("Secret", "type"): "v1.SecretType",
    ("DeploymentStrategy", "type"): "v1.DeploymentStrategyType",
    ("Toleration", "operator"): "v1.TolerationOperator",
    ("Toleration", "effect"): "v1.TaintEffect",
    ("Taint", "effect"): "v1.TaintEffect",
    ("LabelSelectorRequirement", "operator"): "v1.LabelSelectorOperator",
    ("NodeSelectorRequirement", "operator"): "v1.NodeSelectorOperator",
    ("HTTPGetAction", "scheme"): "v1.URIScheme",
    ("EmptyDirVolumeSource", "medium"): "v1.StorageMedium",
    ("CronJobSpec", "concurrencyPolicy"): "v1.ConcurrencyPolicy",
    ("ObjectMeta", "uid"): "types.UID",
    ("OwnerReference", "uid"): "types.UID",
    ("ObjectReference", "uid"): "types.UID",
}


def _pairs(table: Mapping[str, str]) -> set[tuple[str, str]]:
    return {(owner, field) for owner, fields in table.items() for field in fields.split()}


_ALWAYS_PAIRS = _pairs(_ALWAYS) | _pairs(_NULL_TIMES)
_NEVER_PAIRS = _pairs(_NEVER)
_POINTERS = _pairs(_POINTER_FIELDS) | _pairs(_POINTER_BOOL_FIELDS) | _pairs(_POINTER_INT_FIELDS)
_PLAIN = Facts()


def of_field(owner: str, field: str) -> Facts:
    """Return what is known of a field.

    Args:
        owner: Go name of the struct, such as "PodSpec".
        field: JSON name.
    """
    key = (owner, field)
    always: bool | None = None
    if key in _ALWAYS_PAIRS:
        always = True
    elif key in _NEVER_PAIRS:
        always = False
    pointer = True if key in _POINTERS else None
    default, go_name = _DEFAULTS.get(key), _GO_NAMES.get(key, "")
    if always is None and pointer is None and default is None and not go_name:
        return _PLAIN
    return Facts(always, pointer, default, go_name)


def is_part(owner: str, field: str) -> bool:
    """Return whether a struct field is one of the parts that every kind embeds by value: metadata, spec, status."""
    return field in ("metadata", "spec", "status") and (owner, field) not in _POINTER_PARTS


def is_value(scalar: str, field: str) -> bool:
    """Return whether a scalar field is no pointer, so that its zero is dropped."""
    if scalar == "string":
        return field not in _POINTER_STRINGS
    if scalar == "bool":
        return field in _VALUE_BOOLS
    return field in _VALUE_INTS
