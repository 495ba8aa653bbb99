"""What v1.37 serves by default, as plain data: one row a resource, in the order of group priority.

Only stable versions are served by default (KEP-3136), so no beta or alpha rows. `scheme.py` turns the rows into resources.

Source: the v1.37 OpenAPI document and discovery; pkg/registry/*/storage (short names, categories, singular names);
SpecialDefaultResourcePrefixes in pkg/kubeapiserver/default_storage_factory_builder.go (storage keys);
AddFieldLabelConversionFunc in pkg/apis/*/v1/conversion.go (selectable fields).
"""

from collections.abc import Mapping
from typing import NamedTuple

ALL = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
NO_COLLECTION = ("create", "delete", "get", "list", "patch", "update", "watch")
READ = ("get", "list")
CREATE = ("create",)
EDIT = ("get", "patch", "update")
PROXY = ("create", "delete", "get", "patch", "update")
STREAM = ("create", "get")

NAMESPACED, CLUSTER = True, False


class Sub(NamedTuple):
    """A subresource: its kind is the parent's unless `kind` says otherwise, as "group/version.Kind"."""

    name: str
    verbs: tuple[str, ...] = EDIT
    gvk: str = ""


class Row(NamedTuple):
    """A resource within its group and version.

    Attributes:
        storage: Key prefix below /registry; "" means the plural, None that nothing is stored.
        stored_as: The apiVersion in storage; "" means its own.
        fields: Selectable fields besides metadata.name and metadata.namespace.
    """

    plural: str
    kind: str
    namespaced: bool = NAMESPACED
    short: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subs: tuple[Sub, ...] = ()
    verbs: tuple[str, ...] = ALL
    fields: tuple[str, ...] = ()
    storage: str | None = ""
    stored_as: str = ""


class Group(NamedTuple):
    """One version of a group.

    Attributes:
        package: Prefix of its OpenAPI definitions.
        priority: groupPriorityMinimum and versionPriority of its APIService.
    """

    name: str
    version: str
    package: str
    priority: tuple[int, int]
    rows: tuple[Row, ...]


STATUS = (Sub("status"),)
SCALE = Sub("scale", EDIT, "autoscaling/v1.Scale")
EXTENSION = ("api-extensions",)
EVERYDAY = ("all",)

_OBJECT = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_EVENT_FIELDS = (*(f"involvedObject.{part}" for part in _OBJECT), "reason", "reportingComponent", "source", "type")
_NEW_EVENT_FIELDS = (*(f"regarding.{part}" for part in _OBJECT), "reason", "reportingController", "type")
_POD_FIELDS = (
    "spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName", "spec.hostNetwork",
    "status.phase", "status.podIP", "status.podIPs", "status.nominatedNodeName",
)  # fmt: skip
_POD_SUBS = (
    Sub("attach", STREAM, "v1.PodAttachOptions"),
    Sub("binding", CREATE, "v1.Binding"),
    Sub("ephemeralcontainers"),
    Sub("eviction", CREATE, "policy/v1.Eviction"),
    Sub("exec", STREAM, "v1.PodExecOptions"),
    Sub("log", ("get",)),
    Sub("portforward", STREAM, "v1.PodPortForwardOptions"),
    Sub("proxy", PROXY, "v1.PodProxyOptions"),
    Sub("resize"),
    Sub("status"),
)

_CORE = (
    Row("bindings", "Binding", verbs=CREATE, storage=None),
    Row("componentstatuses", "ComponentStatus", CLUSTER, ("cs",), verbs=READ, storage=None),
    Row("configmaps", "ConfigMap", short=("cm",)),
    Row("endpoints", "Endpoints", short=("ep",), storage="services/endpoints"),
    Row("events", "Event", short=("ev",), fields=_EVENT_FIELDS),
    Row("limitranges", "LimitRange", short=("limits",)),
    Row("namespaces", "Namespace", CLUSTER, ("ns",), verbs=NO_COLLECTION, fields=("status.phase",),
        subs=(Sub("finalize", ("update",)), Sub("status"))),
    Row("nodes", "Node", CLUSTER, ("no",), storage="minions", fields=("spec.unschedulable",),
        subs=(Sub("proxy", PROXY, "v1.NodeProxyOptions"), Sub("status"))),
    Row("persistentvolumeclaims", "PersistentVolumeClaim", short=("pvc",), subs=STATUS),
    Row("persistentvolumes", "PersistentVolume", CLUSTER, ("pv",), subs=STATUS),
    Row("pods", "Pod", short=("po",), categories=EVERYDAY, subs=_POD_SUBS, fields=_POD_FIELDS),
    Row("podtemplates", "PodTemplate"),
    Row("replicationcontrollers", "ReplicationController", short=("rc",), categories=EVERYDAY, storage="controllers",
        subs=(SCALE, Sub("status")), fields=("status.replicas",)),
    Row("resourcequotas", "ResourceQuota", short=("quota",), subs=STATUS),
    Row("secrets", "Secret", fields=("type",)),
    Row("serviceaccounts", "ServiceAccount", short=("sa",),
        subs=(Sub("token", CREATE, "authentication.k8s.io/v1.TokenRequest"),)),
    Row("services", "Service", short=("svc",), categories=EVERYDAY, storage="services/specs",
        subs=(Sub("proxy", PROXY, "v1.ServiceProxyOptions"), Sub("status")), fields=("spec.clusterIP", "spec.type")),
)  # fmt: skip

_APPS = (
    Row("controllerrevisions", "ControllerRevision"),
    Row("daemonsets", "DaemonSet", short=("ds",), categories=EVERYDAY, subs=STATUS),
    Row("deployments", "Deployment", short=("deploy",), categories=EVERYDAY, subs=(SCALE, Sub("status"))),
    Row("replicasets", "ReplicaSet", short=("rs",), categories=EVERYDAY, subs=(SCALE, Sub("status")),
        fields=("status.replicas",)),
    Row("statefulsets", "StatefulSet", short=("sts",), categories=EVERYDAY, subs=(SCALE, Sub("status"))),
)  # fmt: skip

_HPA = Row(
    "horizontalpodautoscalers", "HorizontalPodAutoscaler", short=("hpa",), categories=EVERYDAY, subs=STATUS,
    stored_as="autoscaling/v2",
)  # fmt: skip

_ADMISSION = (
    Row("mutatingadmissionpolicies", "MutatingAdmissionPolicy", CLUSTER, categories=EXTENSION),
    Row("mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", CLUSTER, categories=EXTENSION),
    Row("mutatingwebhookconfigurations", "MutatingWebhookConfiguration", CLUSTER, categories=EXTENSION),
    Row("validatingadmissionpolicies", "ValidatingAdmissionPolicy", CLUSTER, categories=EXTENSION, subs=STATUS),
    Row("validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", CLUSTER, categories=EXTENSION),
    Row("validatingwebhookconfigurations", "ValidatingWebhookConfiguration", CLUSTER, categories=EXTENSION),
)

_NETWORKING = (
    Row("ingressclasses", "IngressClass", CLUSTER),
    Row("ingresses", "Ingress", short=("ing",), subs=STATUS, storage="ingress"),
    Row("ipaddresses", "IPAddress", CLUSTER, ("ip",)),
    Row("networkpolicies", "NetworkPolicy", short=("netpol",)),
    Row("servicecidrs", "ServiceCIDR", CLUSTER, subs=STATUS),
)

_STORAGE = (
    Row("csidrivers", "CSIDriver", CLUSTER),
    Row("csinodes", "CSINode", CLUSTER),
    Row("csistoragecapacities", "CSIStorageCapacity"),
    Row("storageclasses", "StorageClass", CLUSTER, ("sc",)),
    Row("volumeattachments", "VolumeAttachment", CLUSTER, subs=STATUS),
    Row("volumeattributesclasses", "VolumeAttributesClass", CLUSTER, ("vac",)),
)


def _review(plural: str, kind: str, namespaced: bool = CLUSTER) -> Row:
    return Row(plural, kind, namespaced, verbs=CREATE, storage=None)


GROUPS: tuple[Group, ...] = (
    Group("", "v1", "io.k8s.api.core.v1", (18000, 1), _CORE),
    Group("apiregistration.k8s.io", "v1", "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1", (18000, 1), (
        Row("apiservices", "APIService", CLUSTER, categories=EXTENSION, subs=STATUS,
            storage="apiregistration.k8s.io/apiservices"),
    )),
    Group("apps", "v1", "io.k8s.api.apps.v1", (17800, 15), _APPS),
    Group("events.k8s.io", "v1", "io.k8s.api.events.v1", (17750, 15), (
        Row("events", "Event", short=("ev",), fields=_NEW_EVENT_FIELDS, stored_as="v1"),
    )),
    Group("authentication.k8s.io", "v1", "io.k8s.api.authentication.v1", (17700, 15), (
        _review("selfsubjectreviews", "SelfSubjectReview"),
        _review("tokenreviews", "TokenReview"),
    )),
    Group("authorization.k8s.io", "v1", "io.k8s.api.authorization.v1", (17600, 15), (
        _review("localsubjectaccessreviews", "LocalSubjectAccessReview", NAMESPACED),
        _review("selfsubjectaccessreviews", "SelfSubjectAccessReview"),
        _review("selfsubjectrulesreviews", "SelfSubjectRulesReview"),
        _review("subjectaccessreviews", "SubjectAccessReview"),
    )),
    Group("autoscaling", "v2", "io.k8s.api.autoscaling.v2", (17500, 30), (_HPA,)),
    Group("autoscaling", "v1", "io.k8s.api.autoscaling.v1", (17500, 15), (_HPA,)),
    Group("batch", "v1", "io.k8s.api.batch.v1", (17400, 15), (
        Row("cronjobs", "CronJob", short=("cj",), categories=EVERYDAY, subs=STATUS),
        Row("jobs", "Job", categories=EVERYDAY, subs=STATUS, fields=("status.successful",)),
    )),
    Group("certificates.k8s.io", "v1", "io.k8s.api.certificates.v1", (17300, 15), (
        Row("certificatesigningrequests", "CertificateSigningRequest", CLUSTER, ("csr",),
            subs=(Sub("approval"), Sub("status")), fields=("spec.signerName",)),
    )),
    Group("networking.k8s.io", "v1", "io.k8s.api.networking.v1", (17200, 15), _NETWORKING),
    Group("policy", "v1", "io.k8s.api.policy.v1", (17100, 15), (
        Row("poddisruptionbudgets", "PodDisruptionBudget", short=("pdb",), subs=STATUS),
    )),
    Group("rbac.authorization.k8s.io", "v1", "io.k8s.api.rbac.v1", (17000, 15), (
        Row("clusterrolebindings", "ClusterRoleBinding", CLUSTER),
        Row("clusterroles", "ClusterRole", CLUSTER),
        Row("rolebindings", "RoleBinding"),
        Row("roles", "Role"),
    )),
    Group("storage.k8s.io", "v1", "io.k8s.api.storage.v1", (16800, 15), _STORAGE),
    Group("admissionregistration.k8s.io", "v1", "io.k8s.api.admissionregistration.v1", (16700, 15), _ADMISSION),
    Group("apiextensions.k8s.io", "v1", "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1", (16700, 15), (
        Row("customresourcedefinitions", "CustomResourceDefinition", CLUSTER, ("crd", "crds"), EXTENSION, STATUS,
            storage="apiextensions.k8s.io/customresourcedefinitions"),
    )),
    Group("scheduling.k8s.io", "v1", "io.k8s.api.scheduling.v1", (16600, 15), (
        Row("priorityclasses", "PriorityClass", CLUSTER, ("pc",)),
    )),
    Group("coordination.k8s.io", "v1", "io.k8s.api.coordination.v1", (16500, 15), (Row("leases", "Lease"),)),
    Group("node.k8s.io", "v1", "io.k8s.api.node.v1", (16300, 15), (Row("runtimeclasses", "RuntimeClass", CLUSTER),)),
    Group("discovery.k8s.io", "v1", "io.k8s.api.discovery.v1", (16200, 15), (
        Row("endpointslices", "EndpointSlice"),
    )),
    Group("resource.k8s.io", "v1", "io.k8s.api.resource.v1", (16200, 15), (
        Row("deviceclasses", "DeviceClass", CLUSTER),
        Row("resourceclaims", "ResourceClaim", subs=STATUS),
        Row("resourceclaimtemplates", "ResourceClaimTemplate"),
        Row("resourceslices", "ResourceSlice", CLUSTER, fields=("spec.driver", "spec.nodeName")),
    )),
    Group("flowcontrol.apiserver.k8s.io", "v1", "io.k8s.api.flowcontrol.v1", (16100, 21), (
        Row("flowschemas", "FlowSchema", CLUSTER, subs=STATUS),
        Row("prioritylevelconfigurations", "PriorityLevelConfiguration", CLUSTER, subs=STATUS),
    )),
)  # fmt: skip

PRIORITIES: Mapping[tuple[str, str], tuple[int, int]] = {
    (group.name, group.version): group.priority for group in GROUPS
}
"""groupPriorityMinimum and versionPriority by (group, version), for the APIService objects."""
