"""The roles of people and components that every cluster has, and who is in them.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy/{policy,namespace_policy}.go (v1.37).
"""

from knarr.apiserver.authz.policy import EVENTS, READ, READ_WRITE, WRITE, Binding, Policy, Role, rule, urls

_CERTIFICATES = "certificates.k8s.io"
_HEALTH = "/healthz /livez /readyz /version /version/"
_SIGNERS = ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
_REVIEWS = (
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "subjectaccessreviews"),
)

NODE_RULES = (
    rule("create", "authentication.k8s.io", "tokenreviews"),
    rule("create", "authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews"),
    rule(READ, "core", "services"),
    rule("create get list watch", "core", "nodes"),
    rule("patch update", "core", "nodes/status"),
    rule("patch update", "core", "nodes"),
    rule("create patch update", "core", "events"),
    rule(READ, "core", "pods"),
    rule("create delete", "core", "pods"),
    rule("patch update", "core", "pods/status"),
    rule("create", "core", "pods/eviction"),
    rule(READ, "core", "configmaps secrets"),
    rule("get", "core", "persistentvolumeclaims persistentvolumes"),
    rule("get", "core", "endpoints"),
    rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),
    rule("create delete get patch update", "coordination.k8s.io", "leases"),
    rule("get", "storage.k8s.io", "volumeattachments"),
    rule("create", "core", "serviceaccounts/token"),
    rule("get patch update", "core", "persistentvolumeclaims/status"),
    rule(READ, "storage.k8s.io", "csidrivers"),
    rule("create delete get patch update", "storage.k8s.io", "csinodes"),
    rule(READ, "node.k8s.io", "runtimeclasses"),
    rule("get", "resource.k8s.io", "resourceclaims"),
    rule("deletecollection", "resource.k8s.io", "resourceslices"),
    rule(READ, _CERTIFICATES, "clustertrustbundles"),
    rule("get", "core", "serviceaccounts"),
)
"""What a node may do, some of it only where the Node authorizer sees a relation."""

_EDIT = (
    rule(READ, "core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy"),
    rule("impersonate", "core", "serviceaccounts"),
    rule(WRITE, "core", "pods pods/attach pods/exec pods/portforward pods/proxy"),
    rule("create", "core", "pods/eviction"),
    rule(
        WRITE,
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
    ),
    rule("create", "core", "serviceaccounts/token"),
    rule(
        WRITE,
        "apps",
        "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets "
        "statefulsets/scale",
    ),
    rule(WRITE, "autoscaling", "horizontalpodautoscalers"),
    rule(WRITE, "batch", "cronjobs jobs"),
    rule(
        WRITE,
        "extensions",
        "daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets "
        "replicasets/scale replicationcontrollers/scale",
    ),
    rule(WRITE, "policy", "poddisruptionbudgets"),
    rule(WRITE, "networking.k8s.io", "ingresses networkpolicies"),
    rule(READ_WRITE, "coordination.k8s.io", "leases"),
    rule(WRITE, "resource.k8s.io", "resourceclaims resourceclaimtemplates"),
)
_VIEW = (
    rule(
        READ,
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
    ),
    rule(
        READ,
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
        "resourcequotas resourcequotas/status",
    ),
    rule(READ, "core", "namespaces"),
    rule(READ, "discovery.k8s.io", "endpointslices"),
    rule(
        READ,
        "apps",
        "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
        "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
    ),
    rule(READ, "autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    rule(READ, "batch", "cronjobs cronjobs/status jobs jobs/status"),
    rule(
        READ,
        "extensions",
        "daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status "
        "networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale",
    ),
    rule(READ, "policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    rule(READ, "networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    rule(READ, "resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
)
_SCHEDULER = (
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get list update watch", "coordination.k8s.io", "leases", names="kube-scheduler"),
    rule(READ_WRITE, "coordination.k8s.io", "leasecandidates"),
    rule(READ, "core", "nodes"),
    rule("delete get list watch", "core", "pods"),
    rule("create", "core", "bindings pods/binding"),
    rule("patch update", "core", "pods/status"),
    rule(READ, "core", "replicationcontrollers services"),
    rule(READ, "apps extensions", "replicasets"),
    rule(READ, "apps", "statefulsets"),
    rule(READ, "policy", "poddisruptionbudgets"),
    rule(READ, "core", "persistentvolumeclaims persistentvolumes"),
    *_REVIEWS,
    rule(READ, "storage.k8s.io", "csinodes"),
    rule(READ, "storage.k8s.io", "volumeattachments"),
    rule(READ, "core", "namespaces"),
    rule(READ, "storage.k8s.io", "csidrivers"),
    rule(READ, "storage.k8s.io", "csistoragecapacities"),
    rule(READ, "resource.k8s.io", "deviceclasses"),
    rule("get list patch update watch", "resource.k8s.io", "resourceclaims"),
    rule("get list patch update watch", "resource.k8s.io", "resourceclaims/status"),
    rule("get list patch update watch", "core", "pods/finalizers"),
    rule(READ, "resource.k8s.io", "resourceslices"),
)
_CONTROLLER_MANAGER = (
    EVENTS,
    rule("create", "coordination.k8s.io", "leases"),
    rule("get update", "coordination.k8s.io", "leases", names="kube-controller-manager"),
    rule("create", "core", "secrets serviceaccounts"),
    rule("delete", "core", "secrets"),
    rule("get", "core", "configmaps namespaces secrets serviceaccounts"),
    rule("update", "core", "secrets serviceaccounts"),
    *_REVIEWS,
    rule("list watch", "*", "*"),
    rule("create", "core", "serviceaccounts/token"),
)

CLUSTER_ROLES = (
    Role("cluster-admin", (rule("*", "*", "*"), urls("*"))),
    Role("admin", aggregates="admin"),
    Role("edit", aggregates="edit", into="admin"),
    Role("view", aggregates="view", into="edit"),
    Role(
        "system:aggregate-to-admin",
        (
            rule("create", "authorization.k8s.io", "localsubjectaccessreviews"),
            rule(READ_WRITE, "rbac.authorization.k8s.io", "rolebindings roles"),
        ),
        into="admin",
    ),
    Role("system:aggregate-to-edit", _EDIT, into="edit"),
    Role("system:aggregate-to-view", _VIEW, into="view"),
    Role("system:auth-delegator", _REVIEWS),
    Role(
        "system:basic-user",
        (
            rule("create", "authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews"),
            rule("create", "authentication.k8s.io", "selfsubjectreviews"),
        ),
    ),
    *(
        Role(
            f"system:{_CERTIFICATES}:certificatesigningrequests:{name}",
            (rule("create", _CERTIFICATES, f"certificatesigningrequests/{name}"),),
        )
        for name in ("nodeclient", "selfnodeclient")
    ),
    *(
        Role(
            f"system:{_CERTIFICATES}:{signer}-approver",
            (rule("approve", _CERTIFICATES, "signers", names=f"kubernetes.io/{signer}"),),
        )
        for signer in _SIGNERS
    ),
    Role("system:cluster-trust-bundle-discovery", (rule(READ, _CERTIFICATES, "clustertrustbundles"),)),
    Role("system:discovery", (urls(f"/api /api/* /apis /apis/* /openapi /openapi/* {_HEALTH}"),)),
    Role(
        "system:heapster",
        (rule(READ, "core", "events namespaces nodes pods"), rule(READ, "extensions", "deployments")),
    ),
    Role("system:kube-aggregator", (rule(READ, "core", "endpoints services"),)),
    Role("system:kube-controller-manager", _CONTROLLER_MANAGER),
    Role("system:kube-dns", (rule("list watch", "core", "endpoints services"),)),
    Role("system:kube-scheduler", _SCHEDULER),
    Role(
        "system:kubelet-api-admin",
        (
            rule(READ, "core", "nodes"),
            rule("proxy", "core", "nodes"),
            rule("*", "core", "nodes/log nodes/metrics nodes/proxy nodes/stats"),
            rule("*", "core", "nodes/configz nodes/healthz nodes/pods"),
        ),
    ),
    Role(
        "system:monitoring",
        (
            urls("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"),
            urls("/flagz"),
            urls("/statusz"),
        ),
    ),
    Role("system:node", NODE_RULES),
    Role("system:node-bootstrapper", (rule("create get list watch", _CERTIFICATES, "certificatesigningrequests"),)),
    Role(
        "system:node-problem-detector",
        (rule("get", "core", "nodes"), rule("patch", "core", "nodes/status"), EVENTS),
    ),
    Role(
        "system:node-proxier",
        (
            rule("list watch", "core", "endpoints services"),
            rule(READ, "core", "nodes"),
            EVENTS,
            rule("list watch", "networking.k8s.io", "servicecidrs"),
            rule("list watch", "discovery.k8s.io", "endpointslices"),
        ),
    ),
    Role(
        "system:persistent-volume-provisioner",
        (
            rule("create delete get list watch", "core", "persistentvolumes"),
            rule("get list update watch", "core", "persistentvolumeclaims"),
            rule(READ, "storage.k8s.io", "storageclasses"),
            rule("watch", "core", "events"),
            EVENTS,
        ),
    ),
    Role("system:public-info-viewer", (urls(_HEALTH),)),
    Role(
        "system:service-account-issuer-discovery",
        (
            urls(
                "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
            ),
        ),
    ),
    Role(
        "system:volume-scheduler",
        (
            rule("get list patch update watch", "core", "persistentvolumes"),
            rule(READ, "storage.k8s.io", "storageclasses"),
            rule("get list patch update watch", "core", "persistentvolumeclaims"),
        ),
    ),
)

CLUSTER_ROLE_BINDINGS = (
    Binding("cluster-admin", groups="system:masters"),
    Binding("system:basic-user", groups="system:authenticated"),
    Binding("system:cluster-trust-bundle-discovery", groups="system:serviceaccounts"),
    Binding("system:discovery", groups="system:authenticated"),
    Binding("system:kube-controller-manager", users="system:kube-controller-manager"),
    Binding("system:kube-dns", accounts="kube-dns"),
    Binding("system:kube-scheduler", users="system:kube-scheduler"),
    Binding("system:monitoring", groups="system:monitoring"),
    Binding("system:node"),
    Binding("system:node-proxier", users="system:kube-proxy"),
    Binding("system:public-info-viewer", groups="system:authenticated system:unauthenticated"),
    Binding("system:service-account-issuer-discovery", groups="system:serviceaccounts"),
    Binding("system:volume-scheduler", users="system:kube-scheduler"),
)

_LOCKING = (
    rule("create get list update watch", "coordination.k8s.io", "leases"),
    rule("create get list update watch", "coordination.k8s.io", "leasecandidates"),
)
_SIGNER = "system:controller:bootstrap-signer"
_READER = "extension-apiserver-authentication-reader"
_MANAGER_LOCK = "system::leader-locking-kube-controller-manager"
_SCHEDULER_LOCK = "system::leader-locking-kube-scheduler"
_PUBLIC, _SYSTEM = "kube-public", "kube-system"

NAMESPACE_ROLES = (
    Role(
        _SIGNER,
        (rule(READ, "core", "configmaps"), rule("update", "core", "configmaps", names="cluster-info"), EVENTS),
        namespace=_PUBLIC,
    ),
    Role(_READER, (rule(READ, "core", "configmaps", names="extension-apiserver-authentication"),), namespace=_SYSTEM),
    Role(_MANAGER_LOCK, _LOCKING, namespace=_SYSTEM),
    Role(_SCHEDULER_LOCK, _LOCKING, namespace=_SYSTEM),
    Role(_SIGNER, (rule(READ, "core", "secrets"),), namespace=_SYSTEM),
    Role(
        "system:controller:cloud-provider",
        (rule("create get list watch", "core", "configmaps"),),
        namespace=_SYSTEM,
    ),
    Role(
        "system:controller:token-cleaner",
        (rule("delete get list watch", "core", "secrets"), EVENTS),
        namespace=_SYSTEM,
    ),
)
NAMESPACE_ROLE_BINDINGS = (
    Binding(_SIGNER, accounts="bootstrap-signer", namespace=_PUBLIC),
    Binding(
        _READER,
        users="system:kube-controller-manager system:kube-scheduler",
        namespace=_SYSTEM,
        name=f"system::{_READER}",
    ),
    Binding(
        _MANAGER_LOCK,
        users="system:kube-controller-manager",
        accounts="kube-controller-manager leader-election-controller",
        namespace=_SYSTEM,
    ),
    Binding(_SCHEDULER_LOCK, users="system:kube-scheduler", accounts="kube-scheduler", namespace=_SYSTEM),
    Binding(_SIGNER, accounts="bootstrap-signer", namespace=_SYSTEM),
    Binding("system:controller:cloud-provider", accounts="cloud-provider", namespace=_SYSTEM),
    Binding("system:controller:token-cleaner", accounts="token-cleaner", namespace=_SYSTEM),
)

POLICY = Policy(
    (*CLUSTER_ROLES, *NAMESPACE_ROLES),
    (*CLUSTER_ROLE_BINDINGS, *NAMESPACE_ROLE_BINDINGS),
)
