"""NodeRestriction: a node writes only about itself and its pods.

Upstream counterpart: plugin/pkg/admission/noderestriction and k8s.io/kubelet/pkg/apis/well_known_labels.go (v1.37).
"""

from collections.abc import Callable, Mapping

from cryptography.x509.oid import NameOID

from knarr.api import errors
from knarr.apiserver.admission import certificates
from knarr.apiserver.admission.chain import CREATE, DELETE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.authz.node import LEASE_NAMESPACE, MIRROR, PREFIX, needs_of, node_of
from knarr.apiserver.requestinfo import RequestInfo

RESTRICTED = "node-restriction.kubernetes.io"
KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/windows-build",
    }
)
_KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_KUBELET_SIGNERS = frozenset({"kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet"})
_CLAIM_STATUS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
_REFERENCES = {"secrets": "secrets", "configmaps": "configmaps", "persistentvolumeclaims": "persistentvolumeclaims"}

Check = Callable[[str, AdmissionRequest], None]


class _Rules:
    """What a node may write, resource by resource; each method takes the node's name and the request."""

    def __init__(self, context: Context) -> None:
        self._registry = context.registry
        self._authorizer = context.authorizer

    def pod(self, node: str, request: AdmissionRequest) -> None:
        if request.operation == CREATE:
            self._mirror(node, request)
        elif request.operation == DELETE:
            if (_spec(request.old)).get("nodeName") != node:
                raise request.forbidden(f'node "{node}" can only delete pods with spec.nodeName set to itself')
        else:
            words = f'unexpected operation "{request.operation}", node "{node}" can only create and delete mirror pods'
            raise request.forbidden(words)

    def _mirror(self, node: str, request: AdmissionRequest) -> None:
        pod = request.object
        assert pod is not None
        metadata, spec = pod["metadata"], pod["spec"]
        if MIRROR not in (metadata.get("annotations") or {}):
            words = f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
            raise request.forbidden(words)
        if spec.get("nodeName") != node:
            raise request.forbidden(f'node "{node}" can only create pods with spec.nodeName set to itself')
        self._owner(node, request, metadata.get("ownerReferences") or [])
        cannot = f'node "{node}" can not create pods that reference'
        if spec.get("serviceAccountName"):
            raise request.forbidden(f"{cannot} a service account")
        needed = {resource for resource, _, _ in needs_of({**pod, "metadata": {"namespace": "", **metadata}})}
        for resource, words in _REFERENCES.items():
            if resource in needed:
                raise request.forbidden(f"{cannot} {words}")
        for volume in spec.get("volumes") or ():
            if any(source.get("clusterTrustBundle") for source in (volume.get("projected") or {}).get("sources") or ()):
                raise request.forbidden(f"{cannot} clustertrustbundles")

    def _owner(self, node: str, request: AdmissionRequest, owners: list[Object]) -> None:
        only = f'node "{node}" can only create pods with'
        if len(owners) > 1:
            raise request.forbidden(f"{only} a single owner reference set to itself")
        owner = owners[0] if owners else {}
        if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
            raise request.forbidden(f"{only} an owner reference set to itself")
        if not owner.get("controller"):
            raise request.forbidden(f"{only} a controller owner reference set to itself")
        if owner.get("blockOwnerDeletion"):
            raise request.forbidden(f'node "{node}" must not set blockOwnerDeletion on an owner reference')
        found = self._registry.get("nodes", "", node)
        if found is None:
            raise errors.NotFound("", "nodes", node)
        if owner.get("uid") != found["metadata"].get("uid"):
            words = f"expected {owner.get('uid')} got {found['metadata'].get('uid')}"
            raise request.forbidden(f"node {node} UID mismatch: {words}")

    def pod_status(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != UPDATE:
            raise request.forbidden(f'unexpected operation "{request.operation}"')
        new, old = request.object or {}, request.old or {}
        if _spec(old).get("nodeName") != node:
            words = f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
            raise request.forbidden(words)
        if (new["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {}):
            raise request.forbidden(f'node "{node}" cannot update labels through pod status')
        claims = [((one.get("status") or {}).get("resourceClaimStatuses") or []) for one in (new, old)]
        if claims[0] != claims[1]:
            raise request.forbidden(f'node "{node}" cannot update resource claim statues')

    def eviction(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != CREATE:
            raise request.forbidden(f"unexpected operation {request.operation}")
        pod = self._registry.get("pods", request.namespace, request.name)
        if pod is None:
            raise errors.NotFound("", "pods", request.name)
        if _spec(pod).get("nodeName") != node:
            raise request.forbidden(f"node {node} can only evict pods with spec.nodeName set to itself")

    def other_pod(self, node: str, request: AdmissionRequest) -> None:
        words = f"unexpected pod subresource \"{request.subresource}\", only 'status' and 'eviction' are allowed"
        raise request.forbidden(words)

    def node(self, node: str, request: AdmissionRequest) -> None:
        name = request.name or ((request.object or {}).get("metadata") or {}).get("name") or ""
        if name != node:
            raise request.forbidden(f'node "{node}" is not allowed to modify node "{name}"')
        if request.object is None:
            return
        new, old = request.object, request.old or {"metadata": {}}
        forbidden = ", ".join(_forbidden_labels(new["metadata"].get("labels"), old["metadata"].get("labels")))
        if request.operation == CREATE and forbidden:
            raise request.forbidden(f'node "{node}" is not allowed to set the following labels: {forbidden}')
        if request.operation == UPDATE:
            if (_spec(new).get("taints") or []) != (_spec(old).get("taints") or []):
                raise request.forbidden(f'node "{node}" is not allowed to modify taints')
            owners = [one["metadata"].get("ownerReferences") or [] for one in (new, old)]
            if owners[0] != owners[1]:  # by which it would have itself deleted
                raise request.forbidden(f'node "{node}" is not allowed to modify ownerReferences')
            if forbidden:
                raise request.forbidden(f"is not allowed to modify labels: {forbidden}")

    def claim(self, node: str, request: AdmissionRequest) -> None:
        raise request.forbidden("may only update PVC status")

    def claim_status(self, node: str, request: AdmissionRequest) -> None:
        if request.operation != UPDATE:
            raise request.forbidden(f'unexpected operation "{request.operation}"')
        if _rest(request.object) != _rest(request.old):
            words = "is not allowed to update fields other than status.quantity and status.conditions"
            raise request.forbidden(f'node "{node}" {words}')

    def token(self, node: str, request: AdmissionRequest) -> None:
        spec = _spec(request.object)
        reference = spec.get("boundObjectRef") or {}
        name, uid = reference.get("name"), reference.get("uid")
        if reference.get("apiVersion") != "v1" or reference.get("kind") != "Pod" or not name:
            raise request.forbidden("node requested token not bound to a pod")
        if not uid:
            raise request.forbidden("node requested token with a pod binding without a uid")
        pod = self._registry.get("pods", request.namespace, name)
        if pod is None:
            raise errors.NotFound("", "pods", name)
        if pod["metadata"].get("uid") != uid:
            raise request.forbidden(
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
        if _spec(pod).get("nodeName") != node:
            raise request.forbidden("node requested token bound to a pod scheduled on a different node")
        self._audiences(request, spec.get("audiences") or [], pod)

    def _audiences(self, request: AdmissionRequest, audiences: list[str], pod: Object) -> None:
        if len(audiences) > 1:
            raise request.forbidden("node may only request 0 or 1 audiences")
        wanted = audiences[0] if audiences else ""
        if wanted in self._known_audiences(pod) or self._may_request(request, wanted):
            return
        words = f'audience "{wanted}" not found in pod spec volume'
        raise request.forbidden(words)

    def _known_audiences(self, pod: Object) -> set[str]:
        known = set()
        for volume in _spec(pod).get("volumes") or ():
            for source in (volume.get("projected") or {}).get("sources") or ():
                if source.get("serviceAccountToken"):
                    known.add(source["serviceAccountToken"].get("audience") or "")
            driver = (volume.get("csi") or {}).get("driver") or self._claim_driver(volume, pod)
            found = self._registry.get("csidrivers.storage.k8s.io", "", driver) if driver else None
            known |= {one.get("audience") or "" for one in _spec(found).get("tokenRequests") or ()}
        return known

    def _claim_driver(self, volume: Object, pod: Object) -> str:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if volume.get("ephemeral"):
            name = f"{pod['metadata']['name']}-{volume['name']}"
        claim = self._registry.get("persistentvolumeclaims", pod["metadata"]["namespace"], name) if name else None
        bound = _spec(claim).get("volumeName")
        found = self._registry.get("persistentvolumes", "", bound) if bound else None
        driver: str = (_spec(found).get("csi") or {}).get("driver") or ""
        return driver

    def _may_request(self, request: AdmissionRequest, audience: str) -> bool:
        info = RequestInfo(
            is_resource_request=True,
            path="",
            verb="request-serviceaccounts-token-audience",
            version="*",
            namespace=request.namespace,
            resource=audience,
            name=request.name,
        )
        return self._authorizer.authorize(request.user, info).allowed

    def lease(self, node: str, request: AdmissionRequest) -> None:
        if request.namespace != LEASE_NAMESPACE:
            raise request.forbidden(f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        if request.shown_name != node:
            raise request.forbidden("can only access node lease with the same name as the requesting node")

    def csi_node(self, node: str, request: AdmissionRequest) -> None:
        if request.shown_name != node:
            raise request.forbidden("can only access CSINode with the same name as the requesting node")

    def resource_slice(self, node: str, request: AdmissionRequest) -> None:
        obj = request.object if request.operation == CREATE else request.old
        if request.operation != UPDATE and _spec(obj).get("nodeName") != node:
            verb = request.operation.lower()
            raise request.forbidden(f"can only {verb} ResourceSlice with the same NodeName as the requesting node")

    def signing_request(self, node: str, request: AdmissionRequest) -> None:
        spec = _spec(request.object)
        if request.operation != CREATE or spec.get("signerName") not in _KUBELET_SIGNERS:
            return
        subject = certificates.read_request(request, spec).subject
        names = [one.value for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if names != [f"{PREFIX}{node}"]:
            raise request.forbidden(f"can only create a node CSR with CN={PREFIX}{node}")


def build(context: Context) -> Plugin:
    """Make the plugin."""
    rules = _Rules(context)
    checks: Mapping[str, Check] = {
        "pods": rules.pod,
        "pods/status": rules.pod_status,
        "pods/eviction": rules.eviction,
        "nodes": rules.node,
        "nodes/status": rules.node,
        "persistentvolumeclaims": rules.claim,
        "persistentvolumeclaims/status": rules.claim_status,
        "serviceaccounts/token": rules.token,
        "leases.coordination.k8s.io": rules.lease,
        "csinodes.storage.k8s.io": rules.csi_node,
        "resourceslices.resource.k8s.io": rules.resource_slice,
        "certificatesigningrequests.certificates.k8s.io": rules.signing_request,
    }

    async def admit(request: AdmissionRequest) -> None:
        node = node_of(request.user)
        if node is None:
            return
        if not node:
            raise request.forbidden(f'could not determine node from user "{request.user.name}"')
        check = checks.get(request.target)
        if check is None and request.resource.qualified == "pods":
            check = rules.other_pod
        if check is not None:
            check(node, request)

    return Plugin("NodeRestriction", frozenset({CREATE, UPDATE, DELETE}), admit=admit)


def _spec(obj: Object | None) -> Object:
    return (obj or {}).get("spec") or {}


def _rest(claim: Object | None) -> Object:
    claim = claim or {"metadata": {}}
    metadata = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {k: v for k, v in (claim.get("status") or {}).items() if k not in _CLAIM_STATUS}
    return {**claim, "metadata": metadata, "status": status}


def _forbidden_labels(new: Mapping[str, str] | None, old: Mapping[str, str] | None) -> list[str]:
    new, old = new or {}, old or {}
    changed = {key for key in new.keys() | old.keys() if new.get(key) != old.get(key)}
    return sorted(key for key in changed if _is_forbidden(key))


def _is_forbidden(key: str) -> bool:
    domain, slash, _ = key.partition("/")
    if not slash:
        return False
    if _is_below(domain, RESTRICTED):
        return True
    if not (_is_below(domain, "kubernetes.io") or _is_below(domain, "k8s.io")):
        return False
    return key not in KUBELET_LABELS and not any(_is_below(domain, one) for one in _KUBELET_DOMAINS)


def _is_below(domain: str, parent: str) -> bool:
    return domain == parent or domain.endswith(f".{parent}")
