"""One role a controller, bound to the service account of its name in kube-system.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/controller_policy.go (v1.37).
"""

from collections.abc import Mapping

from knarr.apiserver.authz.policy import EVENTS, READ, Binding, Policy, Role, rule
from knarr.apiserver.authz.rules import Rule

PREFIX = "system:controller:"
_ALL = "create delete get list patch update watch"
_PATCH = "patch update"
_CHANGE = "get list update watch"
_CERTIFICATES, _RESOURCE, _STORAGE = "certificates.k8s.io", "resource.k8s.io", "storage.k8s.io"
_SCHEDULING = "scheduling.k8s.io"
_OLD_APPS = "apps extensions"
_OWN_PODS = rule("create delete list patch watch", "core", "pods")

CONTROLLERS: Mapping[str, tuple[Rule, ...]] = {
    "attachdetach-controller": (
        rule("list watch", "core", "persistentvolumeclaims persistentvolumes"),
        rule(READ, "core", "nodes"),
        rule(_PATCH, "core", "nodes/status"),
        rule("list watch", "core", "pods"),
        EVENTS,
        rule("create delete get list watch", _STORAGE, "volumeattachments"),
        rule(READ, _STORAGE, "csidrivers"),
        rule(READ, _STORAGE, "csinodes"),
    ),
    "certificate-controller": (
        rule("delete get list watch", _CERTIFICATES, "certificatesigningrequests"),
        rule("update", _CERTIFICATES, "certificatesigningrequests/approval certificatesigningrequests/status"),
        rule("approve", _CERTIFICATES, "signers", names="kubernetes.io/kube-apiserver-client-kubelet"),
        rule(
            "sign",
            _CERTIFICATES,
            "signers",
            names="kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet "
            "kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown",
        ),
        rule("create", "authorization.k8s.io", "subjectaccessreviews"),
        EVENTS,
    ),
    "clusterrole-aggregation-controller": (
        rule("escalate get list patch update watch", "rbac.authorization.k8s.io", "clusterroles"),
    ),
    "cronjob-controller": (
        rule(_CHANGE, "batch", "cronjobs"),
        rule(_ALL, "batch", "jobs"),
        rule("update", "batch", "cronjobs/status"),
        rule("update", "batch", "cronjobs/finalizers"),
        rule("delete list watch", "core", "pods"),
        EVENTS,
    ),
    "daemon-set-controller": (
        rule(READ, _OLD_APPS, "daemonsets"),
        rule("update", _OLD_APPS, "daemonsets/status"),
        rule("update", _OLD_APPS, "daemonsets/finalizers"),
        rule("list watch", "core", "nodes"),
        _OWN_PODS,
        rule("create", "core", "pods/binding"),
        rule(_ALL, "apps", "controllerrevisions"),
        EVENTS,
    ),
    "deployment-controller": (
        rule(_CHANGE, _OLD_APPS, "deployments"),
        rule("update", _OLD_APPS, "deployments/status"),
        rule("update", _OLD_APPS, "deployments/finalizers"),
        rule(_ALL, _OLD_APPS, "replicasets"),
        rule(_CHANGE, "core", "pods"),
        EVENTS,
    ),
    "device-taint-eviction-controller": (
        rule("delete get list watch", "core", "pods"),
        rule(_PATCH, "core", "pods/status"),
        rule(READ, _RESOURCE, "resourceclaims"),
        rule(READ, _RESOURCE, "resourceslices"),
        rule(READ, _RESOURCE, "deviceclasses"),
        EVENTS,
        rule(_PATCH, _RESOURCE, "devicetaintrules/status"),
        rule(READ, _RESOURCE, "devicetaintrules"),
    ),
    "descheduler": (
        rule("list watch", "core", "namespaces nodes pods"),
        rule("create", "core", "pods/eviction"),
        EVENTS,
    ),
    "disruption-controller": (
        rule(READ, _OLD_APPS, "deployments"),
        rule(READ, _OLD_APPS, "replicasets"),
        rule(READ, "core", "replicationcontrollers"),
        rule(READ, "policy", "poddisruptionbudgets"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "policy", "poddisruptionbudgets/status"),
        rule(_PATCH, "core", "pods/status"),
        rule("get", "*", "*/scale"),
        EVENTS,
    ),
    "endpoint-controller": (
        rule(READ, "core", "pods services"),
        rule("create delete get list update watch", "core", "endpoints"),
        rule("create", "core", "endpoints/restricted"),
        EVENTS,
    ),
    "endpointslice-controller": (
        rule(READ, "core", "nodes pods services"),
        rule("update", "core", "services/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "endpointslicemirroring-controller": (
        rule(READ, "core", "endpoints services"),
        rule("update", "core", "services/finalizers"),
        rule("update", "core", "endpoints/finalizers"),
        rule("create delete get list update watch", "discovery.k8s.io", "endpointslices"),
        EVENTS,
    ),
    "ephemeral-volume-controller": (
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "expand-controller": (
        rule("get list patch update watch", "core", "persistentvolumes"),
        rule(_PATCH, "core", "persistentvolumeclaims/status"),
        rule(READ, "core", "persistentvolumeclaims"),
        EVENTS,
    ),
    "generic-garbage-collector": (rule("delete get list patch update watch", "*", "*"), EVENTS),
    "horizontal-pod-autoscaler": (
        rule(READ, "autoscaling", "horizontalpodautoscalers"),
        rule("update", "autoscaling", "horizontalpodautoscalers/status"),
        rule("get update", "*", "*/scale"),
        rule("list watch", "core", "pods"),
        rule("list watch", "metrics.k8s.io", "pods"),
        rule(READ, "custom.metrics.k8s.io", "*"),
        rule(READ, "external.metrics.k8s.io", "*"),
        EVENTS,
    ),
    "job-controller": (
        rule("get list patch update watch", "batch", "jobs"),
        rule("update", "batch", "jobs/status"),
        rule("update", "batch", "jobs/finalizers"),
        _OWN_PODS,
        EVENTS,
    ),
    "legacy-service-account-token-cleaner": (
        rule("get", "core", "configmaps", names="kube-apiserver-legacy-service-account-token-tracking"),
        rule("delete patch", "core", "secrets"),
    ),
    "namespace-controller": (
        rule("delete get list watch", "core", "namespaces"),
        rule("update", "core", "namespaces/finalize namespaces/status"),
        rule("delete deletecollection get list watch", "*", "*"),
    ),
    "node-controller": (
        rule("delete get list patch update watch", "core", "nodes"),
        rule(_PATCH, "core", "nodes/status"),
        rule(_PATCH, "core", "pods/status"),
        rule("delete get list watch", "core", "pods"),
        rule(READ, "coordination.k8s.io", "leases"),
        EVENTS,
    ),
    "persistent-volume-binder": (
        rule("create delete get list update watch", "core", "persistentvolumes"),
        rule("update", "core", "persistentvolumes/status"),
        rule(_CHANGE, "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule("create delete get list watch", "core", "pods"),
        rule(READ, _STORAGE, "storageclasses"),
        rule("list watch", "core", "nodes"),
        EVENTS,
        rule("watch", "core", "events"),
    ),
    "pod-garbage-collector": (
        rule("delete list watch", "core", "pods"),
        rule(READ, "core", "nodes"),
        rule("patch", "core", "pods/status"),
    ),
    "podcertificaterequestcleaner": (rule("delete get list watch", _CERTIFICATES, "podcertificaterequests"),),
    "pv-protection-controller": (rule(_CHANGE, "core", "persistentvolumes"), EVENTS),
    "pvc-protection-controller": (
        rule(_CHANGE, "core", "persistentvolumeclaims"),
        rule("update", "core", "persistentvolumeclaims/status"),
        rule(READ, "core", "pods"),
        EVENTS,
    ),
    "replicaset-controller": (
        rule(_CHANGE, _OLD_APPS, "replicasets"),
        rule("update", _OLD_APPS, "replicasets/status"),
        rule("update", _OLD_APPS, "replicasets/finalizers"),
        _OWN_PODS,
        EVENTS,
    ),
    "replication-controller": (
        rule(_CHANGE, "core", "replicationcontrollers"),
        rule("update", "core", "replicationcontrollers/status"),
        rule("update", "core", "replicationcontrollers/finalizers"),
        _OWN_PODS,
        EVENTS,
    ),
    "resource-claim-controller": (
        rule(READ, "core", "pods"),
        rule("update", "core", "pods/finalizers"),
        rule("create delete get list watch", _RESOURCE, "resourceclaims"),
        rule(_PATCH, _RESOURCE, "resourceclaims resourceclaims/status"),
        rule(_PATCH, "core", "pods/status"),
        EVENTS,
        rule(READ, _SCHEDULING, "podgroups"),
        rule(_PATCH, _SCHEDULING, "podgroups/status"),
        rule(_PATCH, _RESOURCE, "resourceclaims/binding"),
    ),
    "resourcequota-controller": (
        rule("list watch", "*", "*"),
        rule("update", "core", "resourcequotas/status"),
        EVENTS,
    ),
    "root-ca-cert-publisher": (rule("create update", "core", "configmaps"), EVENTS),
    "route-controller": (rule("list watch", "core", "nodes"), rule("patch", "core", "nodes/status"), EVENTS),
    "selinux-warning-controller": (
        EVENTS,
        rule(READ, "core", "persistentvolumes"),
        rule(READ, "core", "persistentvolumeclaims"),
        rule(READ, "core", "pods"),
        rule(READ, _STORAGE, "csidrivers"),
    ),
    "service-account-controller": (rule("create", "core", "serviceaccounts"), EVENTS),
    "service-cidrs-controller": (
        rule("get list patch update watch", "networking.k8s.io", "servicecidrs"),
        rule(_PATCH, "networking.k8s.io", "servicecidrs/finalizers"),
        rule(_PATCH, "networking.k8s.io", "servicecidrs/status"),
        rule(READ, "networking.k8s.io", "ipaddresses"),
        EVENTS,
    ),
    "service-controller": (
        rule(READ, "core", "services"),
        rule(_PATCH, "core", "services/status"),
        rule("list watch", "core", "nodes"),
        EVENTS,
    ),
    "statefulset-controller": (
        rule("list watch", "core", "pods"),
        rule(READ, "apps", "statefulsets"),
        rule("update", "apps", "statefulsets/status"),
        rule("update", "apps", "statefulsets/finalizers"),
        rule("create delete get patch update", "core", "pods"),
        rule(_ALL, "apps", "controllerrevisions"),
        rule("create get list watch", "core", "persistentvolumeclaims"),
        rule("delete update", "core", "persistentvolumeclaims"),
        rule("update", "core", "pods/finalizers"),
        EVENTS,
    ),
    "storage-version-garbage-collector": (
        rule(READ, "coordination.k8s.io", "leases"),
        rule("delete get list patch update watch", "internal.apiserver.k8s.io", "storageversions"),
        rule("get patch update", "internal.apiserver.k8s.io", "storageversions/status"),
    ),
    "storage-version-migrator-controller": (
        rule("list patch", "*", "*"),
        rule("get", "apiextensions.k8s.io", "customresourcedefinitions"),
        rule("patch", "apiextensions.k8s.io", "customresourcedefinitions/status"),
        rule("update", "storagemigration.k8s.io", "storageversionmigrations/status"),
    ),
    "ttl-after-finished-controller": (rule("delete get list watch", "batch", "jobs"), EVENTS),
    "ttl-controller": (rule("list patch update watch", "core", "nodes"), EVENTS),
    "validatingadmissionpolicy-status-controller": (
        rule(READ, "admissionregistration.k8s.io", "validatingadmissionpolicies"),
        rule("get patch update", "admissionregistration.k8s.io", "validatingadmissionpolicies/status"),
        EVENTS,
    ),
    "vertical-recommender": (
        rule("list watch", "core", "nodes pods"),
        rule("get", "core", "nodes/proxy"),
        rule("list", "metrics.k8s.io", "pods"),
        rule("list watch", "apps", "replicasets"),
        rule("list watch", "batch", "jobs"),
        rule("create get list patch", "core", "configmaps"),
    ),
    "volumeattributesclass-protection-controller": (
        rule(READ, "core", "persistentvolumeclaims"),
        rule(READ, "core", "persistentvolumes"),
        rule(_CHANGE, _STORAGE, "volumeattributesclasses"),
        EVENTS,
    ),
}

POLICY = Policy(
    tuple(Role(f"{PREFIX}{name}", rules) for name, rules in CONTROLLERS.items()),
    tuple(Binding(f"{PREFIX}{name}", accounts=name) for name in CONTROLLERS),
)
