"""The Node authorizer: a node may read what its pods need, and write what is its own.

The graph from a node over its pods to Secrets, ConfigMaps, claims and accounts is kept as counts, one pod's share added and
taken away as it comes and goes; what lies behind a claim (its volume, and the Secrets of that) is looked up when asked for.

Upstream counterpart: plugin/pkg/auth/authorizer/node (v1.37).
"""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from knarr.api.user import User
from knarr.apiserver import keys
from knarr.apiserver.authz.authorizer import Decision, Rules
from knarr.apiserver.authz.policy_users import NODE_RULES
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.store import backend as backends

PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
LEASE_NAMESPACE = "kube-node-lease"
MIRROR = "kubernetes.io/config.mirror"
_ALLOWED = Decision(True)
_SILENT = Decision(False)
_OWN_VERBS = ("get", "create", "update", "patch", "delete")

Object = dict[str, Any]
_Thing = tuple[str, str, str]  # (resource, namespace, name)


def node_of(user: User) -> str | None:
    """Return the name of the node that a user is; empty if it is a node without a name; None if it is none."""
    if NODES_GROUP not in user.groups:
        return None
    return user.name.removeprefix(PREFIX) if user.name.startswith(PREFIX) else None


class Node:
    """The Node authorizer.

    Args:
        registry: Has pods, claims, volumes and attachments.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._needs: dict[str, Counter[_Thing]] = {}
        for pod in registry.list("pods"):
            self._on_pod(None, pod)
        registry.store.subscribe(keys.prefix(registry.resource("pods")), self._on_event)
        self._special: dict[tuple[str, str], Callable[[str, RequestInfo], Decision]] = {
            ("", "secrets"): self._read,
            ("", "configmaps"): self._read,
            ("", "persistentvolumeclaims"): self._claim,
            ("", "persistentvolumes"): self._get,
            ("resource.k8s.io", "resourceclaims"): self._get,
            ("storage.k8s.io", "volumeattachments"): self._get,
            ("", "serviceaccounts"): self._account,
            ("coordination.k8s.io", "leases"): self._lease,
            ("storage.k8s.io", "csinodes"): self._csi_node,
            ("resource.k8s.io", "resourceslices"): self._slice,
            ("", "nodes"): self._node,
            ("", "pods"): self._pod,
        }

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Allow a node what it needs; have no opinion about anybody else."""
        node = node_of(user)
        if node is None:
            return _SILENT
        if not node:
            return Decision(False, f'unknown node for user "{user.name}"')
        if info.is_resource_request:
            special = self._special.get((info.group, info.resource))
            if special is not None:
                return special(node, info)
        return _by_rules(info)

    def rules_for(self, user: User, namespace: str) -> Rules:
        """Tell that what a node may do cannot be listed."""
        incomplete = node_of(user) is not None
        return Rules(incomplete=incomplete, error="node authorizer does not support user rule resolution" * incomplete)

    def is_related(self, node: str, resource: str, namespace: str, name: str) -> bool:
        """Return whether a pod on the node needs an object."""
        needs = self._needs.get(node)
        if needs is None:
            return False
        if needs[resource, namespace, name] > 0:
            return True
        if resource == "persistentvolumes":
            volume = self._registry.get(resource, "", name)
            claim = ((volume or {}).get("spec") or {}).get("claimRef") or {}
            return needs["persistentvolumeclaims", claim.get("namespace", ""), claim.get("name", "")] > 0
        if resource == "secrets":
            return any((namespace, name) in _volume_secrets(volume) for volume in self._volumes_of(needs))
        if resource == "volumeattachments":
            attachment = self._registry.get("volumeattachments.storage.k8s.io", "", name)
            return attachment is not None and attachment["spec"].get("nodeName") == node
        return False

    def _volumes_of(self, needs: Counter[_Thing]) -> Iterator[Object]:
        for (resource, namespace, name), count in list(needs.items()):
            if resource == "persistentvolumeclaims" and count > 0:
                claim = self._registry.get(resource, namespace, name)
                volume = ((claim or {}).get("spec") or {}).get("volumeName")
                found = self._registry.get("persistentvolumes", "", volume) if volume else None
                if found is not None:
                    yield found

    def _on_event(self, event: backends.Event) -> None:
        # Most writes of pods are not looked into: they are many, and each is decoded for this alone.
        if event.previous is not None and event.entry is not None and _is_same(event.previous.value, event.entry.value):
            return
        self._on_pod(_placed(event.previous), _placed(event.entry))

    def _on_pod(self, old: Object | None, new: Object | None) -> None:
        before, after = _share(old), _share(new)
        if before == after:
            return
        for share, sign in ((before, -1), (after, 1)):
            if share is None:
                continue
            node, things = share
            needs = self._needs.setdefault(node, Counter())
            for thing in things:
                needs[thing] += sign
                if not needs[thing]:
                    del needs[thing]
            if not needs:
                del self._needs[node]

    def _related(self, node: str, info: RequestInfo) -> Decision:
        if not info.name:
            return Decision(False, "No Object name found")
        if self.is_related(node, info.resource, info.namespace, info.name):
            return _ALLOWED
        return Decision(False, f"no relationship found between node '{node}' and this object")

    def _read(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in ("get", "list", "watch"):
            return Decision(False, "can only read resources of this type")
        if info.subresource:
            return Decision(False, "cannot read subresource")
        if not info.namespace:
            return Decision(False, "can only read namespaced object of this type")
        return self._related(node, info)

    def _get(self, node: str, info: RequestInfo) -> Decision:
        if info.verb != "get":
            return Decision(False, "can only get individual resources of this type")
        if info.subresource:
            return Decision(False, "cannot get subresource")
        return self._related(node, info)

    def _claim(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource != "status":
            return self._get(node, info)
        if info.verb not in ("get", "update", "patch"):
            return Decision(False, "can only get/update/patch this type")
        return self._related(node, info)

    def _account(self, node: str, info: RequestInfo) -> Decision:
        if info.verb == "get" and not info.subresource:
            return self._get(node, info)
        if info.verb != "create" or not info.name:
            return Decision(False, "can only create tokens for individual service accounts")
        if info.subresource != "token":
            return Decision(False, "can only create token subresource of serviceaccount")
        return self._related(node, info)

    def _lease(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a node lease")
        if info.namespace != LEASE_NAMESPACE:
            return Decision(False, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
        # The name of a create is in its body: NodeRestriction looks at that.
        if info.verb != "create" and info.name != node:
            return Decision(False, "can only access node lease with the same name as the requesting node")
        return _ALLOWED

    def _csi_node(self, node: str, info: RequestInfo) -> Decision:
        if info.verb not in _OWN_VERBS:
            return Decision(False, "can only get, create, update, patch, or delete a CSINode")
        if info.subresource:
            return Decision(False, "cannot authorize CSINode subresources")
        if info.verb != "create" and info.name != node:
            return Decision(False, "can only access CSINode with the same name as the requesting node")
        return _ALLOWED

    def _slice(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource:
            return Decision(False, "cannot authorize ResourceSlice subresources")
        if info.verb == "create":
            return _ALLOWED
        if info.verb in ("get", "update", "patch", "delete"):
            found = self._registry.get("resourceslices.resource.k8s.io", "", info.name)
            if found is not None and (found.get("spec") or {}).get("nodeName") == node:
                return _ALLOWED
            return Decision(False, f"no relationship found between node '{node}' and this object")
        if info.verb in ("watch", "list", "deletecollection"):
            if _is_selected(info.field_selector, "spec.nodeName", node):
                return _ALLOWED
            return Decision(False, "can only list/watch/deletecollection resourceslices with nodeName field selector")
        return Decision(False, "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, "
                               "update, patch, delete, deletecollection")  # fmt: skip

    def _node(self, node: str, info: RequestInfo) -> Decision:
        if info.subresource in ("", "status"):
            if info.verb == "create" and not info.subresource:
                return _by_rules(info)
            if info.verb in ("get", "list", "watch") and info.name != node:
                shown = info.name or "all nodes"
                return Decision(False, f"node '{node}' cannot read '{shown}', only its own Node object")
            if info.name == node:
                return _by_rules(info)
        return Decision(False, f"node '{node}' cannot {info.verb} this subresource" if info.subresource else "")

    def _pod(self, node: str, info: RequestInfo) -> Decision:
        if info.verb == "get" and not info.subresource:
            pod = self._registry.get("pods", info.namespace, info.name)
            if pod is not None and (pod.get("spec") or {}).get("nodeName") == node:
                return _ALLOWED
            return Decision(False, f"no relationship found between node '{node}' and this object")
        if info.verb in ("list", "watch", "deletecollection"):
            if info.verb != "deletecollection" and _is_selected(info.field_selector, "spec.nodeName", node):
                return _ALLOWED
            return Decision(False, "can only list/watch pods with spec.nodeName field selector")
        return _by_rules(info)


class _Claims(msgspec.Struct, gc=False):
    resourceClaimStatuses: msgspec.Raw = msgspec.Raw()


class _Needy(msgspec.Struct, gc=False):
    """What tells of a pod which objects it needs, undecoded."""

    spec: msgspec.Raw = msgspec.Raw()
    status: _Claims = msgspec.field(default_factory=_Claims)


_needy = msgspec.json.Decoder(_Needy)
_MIRROR = MIRROR.encode()


def _is_same(before: bytes, after: bytes) -> bool:
    """Tell whether a pod is where it was and needs what it needed: mostly only its status is another."""
    old, new = _needy.decode(before), _needy.decode(after)
    return (bytes(old.spec), bytes(old.status.resourceClaimStatuses), _MIRROR in before) == (
        bytes(new.spec),
        bytes(new.status.resourceClaimStatuses),
        _MIRROR in after,
    )


def _placed(entry: backends.Entry | None) -> Object | None:
    if entry is None or b'"nodeName":"' not in entry.value:
        return None
    pod: Object = msgspec.json.decode(entry.value)
    return pod


def _by_rules(info: RequestInfo) -> Decision:
    return _ALLOWED if any(rule.is_allowing(info) for rule in NODE_RULES) else _SILENT


def _is_selected(selector: str, field: str, value: str) -> bool:
    for part in selector.split(","):
        name, equals, wanted = part.partition("=")
        if name == field and equals and wanted.removeprefix("=") == value:
            return True
    return False


def _share(pod: Object | None) -> tuple[str, frozenset[_Thing]] | None:
    spec = (pod or {}).get("spec") or {}
    if pod is None or not spec.get("nodeName"):
        return None
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return None  # a static pod's mirror must not give its node access to anything
    return spec["nodeName"], frozenset(needs_of(pod))


def needs_of(pod: Object) -> Iterator[_Thing]:
    """Return the objects that a pod's node must read to run it."""
    spec, namespace = pod["spec"], pod["metadata"]["namespace"]
    if spec.get("serviceAccountName"):
        yield "serviceaccounts", namespace, spec["serviceAccountName"]
    for reference in spec.get("imagePullSecrets") or ():
        yield "secrets", namespace, reference.get("name") or ""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            yield from _container_needs(container, namespace)
    for volume in spec.get("volumes") or ():
        yield from _volume_needs(volume, pod)
    for status in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        if status.get("resourceClaimName"):
            yield "resourceclaims", namespace, status["resourceClaimName"]
    for claim in spec.get("resourceClaims") or ():
        if claim.get("resourceClaimName"):
            yield "resourceclaims", namespace, claim["resourceClaimName"]


def _container_needs(container: Object, namespace: str) -> Iterator[_Thing]:
    for source in container.get("envFrom") or ():
        for field, resource in (("secretRef", "secrets"), ("configMapRef", "configmaps")):
            if source.get(field):
                yield resource, namespace, source[field].get("name") or ""
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        for field, resource in (("secretKeyRef", "secrets"), ("configMapKeyRef", "configmaps")):
            if source.get(field):
                yield resource, namespace, source[field].get("name") or ""


def _volume_needs(volume: Object, pod: Object) -> Iterator[_Thing]:
    namespace = pod["metadata"]["namespace"]
    if volume.get("secret"):
        yield "secrets", namespace, volume["secret"].get("secretName") or ""
    if volume.get("configMap"):
        yield "configmaps", namespace, volume["configMap"].get("name") or ""
    if volume.get("persistentVolumeClaim"):
        yield "persistentvolumeclaims", namespace, volume["persistentVolumeClaim"]["claimName"]
    if volume.get("ephemeral"):
        yield "persistentvolumeclaims", namespace, f"{pod['metadata']['name']}-{volume['name']}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        for field, resource in (("secret", "secrets"), ("configMap", "configmaps")):
            if source.get(field):
                yield resource, namespace, source[field].get("name") or ""
    if volume.get("csi") and volume["csi"].get("nodePublishSecretRef"):
        yield "secrets", namespace, volume["csi"]["nodePublishSecretRef"].get("name") or ""
    for field in ("azureFile", "cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos"):
        source = volume.get(field) or {}
        if source.get("secretName"):
            yield "secrets", namespace, source["secretName"]
        if source.get("secretRef"):
            yield "secrets", namespace, source["secretRef"].get("name") or ""


def _volume_secrets(volume: Object) -> set[tuple[str, str]]:
    spec = volume["spec"]
    claim_namespace = (spec.get("claimRef") or {}).get("namespace", "")
    found = set()
    for source in spec.values():
        if isinstance(source, dict):
            for field, reference in source.items():
                if field.endswith("SecretRef") or field == "secretRef":
                    found.add((reference.get("namespace") or claim_namespace, reference.get("name") or ""))
    azure = spec.get("azureFile") or {}
    if azure:
        found.add((azure.get("secretNamespace") or claim_namespace, azure.get("secretName") or ""))
    return found
