"""Volumes in folders of nodes, for claims of the class `local-path`: made when a pod's node is known, gone with their claim.

The controller makes and deletes the PersistentVolume; the node agent makes the folder when a pod first uses it, and removes it when the
volume is being deleted. A finalizer holds the volume until then; the node says of which volumes the folder is gone in an annotation of its
own Node, since that is all that a node may write. Nobody waits for a node that is gone or simulated.

Upstream counterpart: none; rancher/local-path-provisioner does the same beside it.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any

from lightkube.models import core_v1, meta_v1, storage_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import Client, DeleteOptions
from knarr.control import Context, informer, loop
from knarr.controllers import volumematching as matching

PROVISIONER = "knarr.dev/local-path"
CLASS = "local-path"
FINALIZER = "knarr.dev/local-path"
NODE = "knarr.dev/node"
"""Annotation of a volume: the node that has the folder."""
REMOVED = "knarr.dev/removed-volumes"
"""Annotation of a node: the volumes whose folders it has removed, with commas."""
SIMULATED = "simulated.knarr.dev/group"
HOSTNAME = "kubernetes.io/hostname"
ROOT = "/var/lib/knarr/storage"
ROLE = "knarr-node-storage"


async def ensure(client: Client, *, root: str) -> None:
    """Create the storage class and the nodes' leave to see volumes, unless they exist.

    Args:
        client: May create roles.
        root: Below which folder of each node the volumes are.
    """
    for obj in plan_objects(root):
        with contextlib.suppress(errors.AlreadyExists):
            await client.create(obj)


def plan_objects(root: str) -> Iterator[dict[str, Any]]:
    """Yield the objects that `ensure` creates."""
    yield {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {matching.DEFAULT_CLASS[0]: "true"}},
        "provisioner": PROVISIONER,
        "parameters": {"path": root},
        "reclaimPolicy": "Delete",
        "volumeBindingMode": matching.WAITS,
        "allowVolumeExpansion": True,
    }
    group = "rbac.authorization.k8s.io"
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [{"apiGroups": [""], "resources": ["persistentvolumes"], "verbs": ["list", "watch"]}],
    }
    yield {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": "system:nodes"}],
    }


def is_wanted(claim: core_v1.PersistentVolumeClaim) -> bool:
    """Tell whether a claim waits for a volume from here, and for which node is known."""
    if claim.metadata is None or claim.spec is None or claim.metadata.deletionTimestamp is not None:
        return False
    asked = matching.annotation(claim, matching.PROVISIONER) == PROVISIONER
    return asked and not claim.spec.volumeName and bool(matching.annotation(claim, matching.SELECTED_NODE))


def volume_for(
    claim: core_v1.PersistentVolumeClaim, storage_class: storage_v1.StorageClass, node: core_v1.Node
) -> core_v1.PersistentVolume:
    """Build the volume of a claim on a node."""
    assert claim.metadata and claim.spec and node.metadata
    meta = claim.metadata
    root = (storage_class.parameters or {}).get("path", ROOT).rstrip("/")
    requests = (claim.spec.resources.requests or {}) if claim.spec.resources else {}
    labels = node.metadata.labels or {}
    key, value = (HOSTNAME, labels[HOSTNAME]) if HOSTNAME in labels else ("metadata.name", node.metadata.name or "")
    requirement = core_v1.NodeSelectorRequirement(key=key, operator="In", values=[value])
    term = core_v1.NodeSelectorTerm()
    if key == HOSTNAME:
        term.matchExpressions = [requirement]
    else:
        term.matchFields = [requirement]
    reference = core_v1.ObjectReference(
        apiVersion="v1", kind="PersistentVolumeClaim", namespace=meta.namespace, name=meta.name, uid=meta.uid
    )
    return core_v1.PersistentVolume(
        metadata=meta_v1.ObjectMeta(
            name=name_for(claim),
            annotations={matching.PROVISIONED_BY: PROVISIONER, NODE: node.metadata.name or ""},
            finalizers=[FINALIZER],
        ),
        spec=core_v1.PersistentVolumeSpec(
            accessModes=claim.spec.accessModes,
            capacity={"storage": requests.get("storage", "0")},
            claimRef=reference,
            local=core_v1.LocalVolumeSource(path=f"{root}/{name_for(claim)}_{meta.namespace}_{meta.name}"),
            mountOptions=storage_class.mountOptions,
            nodeAffinity=core_v1.VolumeNodeAffinity(required=core_v1.NodeSelector(nodeSelectorTerms=[term])),
            persistentVolumeReclaimPolicy=storage_class.reclaimPolicy or "Delete",
            storageClassName=matching.class_of(claim),
            volumeMode="Filesystem",
        ),
    )


def name_for(claim: core_v1.PersistentVolumeClaim) -> str:
    """Return the name of a claim's volume."""
    return f"pvc-{claim.metadata.uid if claim.metadata else ''}"


def refusal(claim: core_v1.PersistentVolumeClaim) -> str | None:
    """Return why a claim can get no folder, or None."""
    assert claim.spec
    if claim.spec.volumeMode == "Block":
        return f"{PROVISIONER} makes no block volumes: set volumeMode to Filesystem"
    if claim.spec.selector is not None:
        return "claim Selector is not supported"
    many = sorted(set(claim.spec.accessModes or ()) & {"ReadWriteMany", "ReadOnlyMany"})
    return f"{PROVISIONER} makes volumes of one node: access mode {many[0]} is not supported" if many else None


def is_free(volume: core_v1.PersistentVolume, node: core_v1.Node | None) -> bool:
    """Tell whether the folder of a volume that is being deleted is gone, or nobody can remove it any more."""
    assert volume.metadata
    if node is None or node.metadata is None or SIMULATED in (node.metadata.labels or {}):
        return True
    return volume.metadata.name in removed_by(node)


def removed_by(node: core_v1.Node) -> list[str]:
    """Return the volumes whose folders a node says that it has removed."""
    return [name for name in (matching.annotation(node, REMOVED) or "").split(",") if name]


class Reconciler:
    """Makes volumes for claims, and takes them away. Requests with a namespace are about claims.

    Args:
        context: Client, informers and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._recorder = context.recorder
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = context.informers.of(core_v1.PersistentVolume)
        self._classes = context.informers.of(storage_v1.StorageClass)
        self._nodes = context.informers.of(core_v1.Node)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Make the volume of a claim, or take the next step in deleting a volume."""
        if request.namespace:
            claim = self._claims.get(request.namespace, request.name)
            if claim is not None and is_wanted(claim):
                await self._provide(claim)
        else:
            volume = self._volumes.get("", request.name)
            if volume is not None and is_ours(volume):
                await self._take_away(volume)
        return loop.Result()

    async def _provide(self, claim: core_v1.PersistentVolumeClaim) -> None:
        storage_class = self._classes.get("", matching.class_of(claim))
        node_name = matching.annotation(claim, matching.SELECTED_NODE) or ""
        node = self._nodes.get("", node_name)
        if storage_class is None or self._volumes.get("", name_for(claim)) is not None:
            return
        reason = refusal(claim) if node is not None else f'node "{node_name}" not found'
        if reason is not None or node is None:
            text = f'failed to provision volume with StorageClass "{matching.class_of(claim)}": {reason}'
            self._recorder.warning(claim, "ProvisioningFailed", text)
            return
        with contextlib.suppress(errors.AlreadyExists):
            made = await self._client.create(volume_for(claim, storage_class, node))
            text = f"Successfully provisioned volume {informer.key_of(made)[1]}"
            self._recorder.normal(claim, "ProvisioningSucceeded", text)

    async def _take_away(self, volume: core_v1.PersistentVolume) -> None:
        assert volume.metadata and volume.spec
        if volume.metadata.deletionTimestamp is None:
            phase = volume.status.phase if volume.status else None
            if phase == "Released" and volume.spec.persistentVolumeReclaimPolicy == "Delete":
                options = DeleteOptions(uid=volume.metadata.uid or "")
                with contextlib.suppress(errors.NotFound):
                    name = volume.metadata.name or ""
                    await self._client.delete(core_v1.PersistentVolume, name, options=options)
            return
        finalizers = volume.metadata.finalizers or []
        is_kept = volume.spec.persistentVolumeReclaimPolicy != "Delete"  # the object goes, the data stay
        node = self._nodes.get("", matching.annotation(volume, NODE) or "")
        if FINALIZER in finalizers and (is_kept or is_free(volume, node)):
            left = [one for one in finalizers if one != FINALIZER]
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(volume, metadata=replace(volume.metadata, finalizers=left)))


def is_ours(volume: core_v1.PersistentVolume) -> bool:
    """Tell whether a volume is a folder from here."""
    return matching.annotation(volume, matching.PROVISIONED_BY) == PROVISIONER


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("local-path-provisioner", Reconciler(context), context)
    volumes = context.informers.of(core_v1.PersistentVolume)

    def of_node(old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        if new is not None and (old is None or removed_by(old) == removed_by(new)):
            return ()
        name = informer.key_of(new if new is not None else old)[1]
        return [
            loop.Request(*informer.key_of(one))
            for one in volumes.list()
            if is_ours(one) and matching.annotation(one, NODE) == name
        ]

    controller.watch(core_v1.PersistentVolumeClaim, loop.itself)
    controller.watch(core_v1.PersistentVolume, loop.itself)
    controller.watch_changes(core_v1.Node, of_node)
    return controller
