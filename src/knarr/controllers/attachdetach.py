"""CSI volumes are attached to the nodes whose pods use them, by VolumeAttachments that the drivers' attachers carry out.

What it observes: pods with a node, the volumes behind their claims, nodes and attachments. The plan compares which attachments there should
be with those that there are. A volume is detached when no pod of the node uses it and the node no longer says that it does, when the node
is gone, or, after six minutes, when a node that is not ready holds a volume of pods that are gone. Nothing is waited for if a node is
tainted out-of-service.

Upstream counterpart: pkg/controller/volume/attachdetach and pkg/volume/csi/csi_attacher.go (v1.37).
"""

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lightkube.models import core_v1, meta_v1, storage_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import DeleteOptions
from knarr.control import Context, informer, loop
from knarr.controllers import podclaims, statuses
from knarr.controllers import pods as podinfo
from knarr.controllers import volumematching as matching

OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
FORCE_AFTER = timedelta(minutes=6)
"""How long a node that is not ready may keep a volume that it says it uses."""


@dataclass(frozen=True, slots=True)
class Use:
    """A volume that pods of a node use.

    Attributes:
        volume: The PersistentVolume.
        node: The node's name.
        pods: Those that use it there.
    """

    volume: core_v1.PersistentVolume
    node: str
    pods: Sequence[core_v1.Pod]

    @property
    def name(self) -> str:
        """The name of its VolumeAttachment."""
        return attachment_name(self.volume, self.node)


@dataclass(slots=True)
class Plan:
    """What is to be done.

    Attributes:
        attach: Attachments to be made.
        detach: Attachments that go.
        told: Pods that are told why they wait: the pod, reason and message.
    """

    attach: list[Use] = field(default_factory=list)
    detach: list[storage_v1.VolumeAttachment] = field(default_factory=list)
    told: list[tuple[core_v1.Pod, str, str]] = field(default_factory=list)


def plan(
    uses: Sequence[Use],
    attachments: Iterable[storage_v1.VolumeAttachment],
    nodes: Mapping[str, core_v1.Node],
    volumes: Mapping[str, core_v1.PersistentVolume],
    now: datetime,
) -> Plan:
    """Compare the attachments that there should be with those that there are.

    Args:
        uses: Of volumes whose driver attaches.
        attachments: All of PersistentVolumes.
        nodes: By name.
        volumes: By name.
        now: The wall time.
    """
    step = Plan()
    existing = {informer.key_of(one)[1]: one for one in attachments}
    wanted = {use.name: use for use in uses}
    for name, use in wanted.items():
        if name in existing or use.node not in nodes:
            continue
        elsewhere = [one for one in existing.values() if _volume_of(one) == informer.key_of(use.volume)[1]]
        if elsewhere and not _is_shared(use.volume):
            text = (
                f'Multi-Attach error for volume "{informer.key_of(use.volume)[1]}" '
                "Volume is already exclusively attached to one node and can't be attached to another"
            )
            step.told += [(pod, "FailedAttachVolume", text) for pod in use.pods]
            continue
        step.attach.append(use)
    for name, attachment in existing.items():
        if name in wanted or (attachment.metadata and attachment.metadata.deletionTimestamp):
            continue
        volume = volumes.get(_volume_of(attachment))
        if volume is None or _may_detach(nodes.get(attachment.spec.nodeName), unique_name(volume), now):
            step.detach.append(attachment)
    return step


def attachment_name(volume: core_v1.PersistentVolume, node: str) -> str:
    """Return the name of the attachment of a CSI volume to a node."""
    assert volume.spec and volume.spec.csi
    text = f"{volume.spec.csi.volumeHandle}{volume.spec.csi.driver}{node}"
    return f"csi-{hashlib.sha256(text.encode()).hexdigest()}"


def unique_name(volume: core_v1.PersistentVolume) -> str:
    """Return how nodes call a CSI volume."""
    csi = volume.spec.csi if volume.spec else None
    return f"kubernetes.io/csi/{csi.driver}^{csi.volumeHandle}" if csi else ""


def attachment_for(use: Use) -> storage_v1.VolumeAttachment:
    """Build the attachment of a volume to a node."""
    assert use.volume.spec and use.volume.spec.csi and use.volume.metadata
    source = storage_v1.VolumeAttachmentSource(persistentVolumeName=use.volume.metadata.name)
    spec = storage_v1.VolumeAttachmentSpec(attacher=use.volume.spec.csi.driver, nodeName=use.node, source=source)
    return storage_v1.VolumeAttachment(metadata=meta_v1.ObjectMeta(name=use.name), spec=spec)


class Reconciler:
    """Attaches and detaches. All requests are about everything.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._pods = context.informers.of(core_v1.Pod)
        self._claims = context.informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = context.informers.of(core_v1.PersistentVolume)
        self._nodes = context.informers.of(core_v1.Node)
        self._drivers = context.informers.of(storage_v1.CSIDriver)
        self._attachments = context.informers.of(storage_v1.VolumeAttachment)
        self._pods.add_index(podclaims.INDEX, podclaims.by_claim)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Bring the attachments to what they should be, and tell nodes what is attached to them."""
        attachments = [one for one in self._attachments.list() if _volume_of(one)]
        uses = self._uses()
        if not attachments and not uses:
            return loop.Result()
        nodes = {informer.key_of(one)[1]: one for one in self._nodes.list()}
        volumes = {informer.key_of(one)[1]: one for one in self._volumes.list()}
        step = plan(uses, attachments, nodes, volumes, self._clock.now())
        for use in step.attach:
            with contextlib.suppress(errors.AlreadyExists):
                await self._client.create(attachment_for(use))
        for one in step.detach:
            options = DeleteOptions(uid=(one.metadata.uid or "") if one.metadata else "")
            with contextlib.suppress(errors.NotFound, errors.Conflict):
                await self._client.delete(storage_v1.VolumeAttachment, informer.key_of(one)[1], options=options)
        for pod, reason, message in step.told:
            self._recorder.warning(pod, reason, message)
        for name, node in nodes.items():
            await self._tell_node(node, [one for one in attachments if one.spec.nodeName == name], volumes)
        waits = len(attachments) > len(uses) or step.told
        return loop.Result(requeue_after_s=15.0 if waits else None)

    def _uses(self) -> list[Use]:
        found: dict[tuple[str, str], Use] = {}
        for volume in self._volumes.list():
            if volume.spec is None or volume.spec.csi is None or volume.spec.claimRef is None:
                continue
            driver = self._drivers.get("", volume.spec.csi.driver)
            if driver is not None and driver.spec.attachRequired is False:
                continue
            reference = volume.spec.claimRef
            claim = self._claims.get(reference.namespace or "", reference.name or "")
            if claim is None or not matching.is_bound_to(volume, claim):
                continue
            by_node: dict[str, list[core_v1.Pod]] = {}
            for pod in self._pods.by_index(podclaims.INDEX, f"{reference.namespace}/{reference.name}"):
                if pod.spec and pod.spec.nodeName and podinfo.phase(pod) not in ("Succeeded", "Failed"):
                    by_node.setdefault(pod.spec.nodeName, []).append(pod)
            for node, pods in by_node.items():
                found[informer.key_of(volume)[1], node] = Use(volume, node, pods)
        return [*found.values()]

    async def _tell_node(
        self,
        node: core_v1.Node,
        attachments: Sequence[storage_v1.VolumeAttachment],
        volumes: Mapping[str, core_v1.PersistentVolume],
    ) -> None:
        attached = [
            core_v1.AttachedVolume(name=unique_name(volumes[_volume_of(one)]), devicePath="")
            for one in attachments
            if one.status is not None and one.status.attached and _volume_of(one) in volumes
        ]
        attached.sort(key=lambda one: one.name)
        before = node.status or core_v1.NodeStatus()
        status = replace(before, volumesAttached=attached or None)
        if not statuses.is_same(status, before):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(node, status=status), subresource="status")


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    controller = loop.Controller("persistentvolume-attach-detach-controller", Reconciler(context), context, workers=1)
    everything = [loop.Request("", "volumes")]

    def of_pod(old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        pod = new if new is not None else old
        if pod is None or not podclaims.names(pod):
            return ()
        same = old is not None and new is not None and _pod_facts(old) == _pod_facts(new)
        return () if same else everything

    def of_node(old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        same = old is not None and new is not None and _node_facts(old) == _node_facts(new)
        return () if same else everything

    controller.watch_changes(core_v1.Pod, of_pod)
    controller.watch_changes(core_v1.Node, of_node)
    for kind in (storage_v1.VolumeAttachment, storage_v1.CSIDriver, core_v1.PersistentVolume):
        controller.watch(kind, lambda _: everything)
    return controller


def _pod_facts(pod: core_v1.Pod) -> tuple[object, ...]:
    return (pod.spec.nodeName if pod.spec else None, podinfo.phase(pod))


def _node_facts(node: core_v1.Node) -> tuple[object, ...]:
    status = node.status or core_v1.NodeStatus()
    return (status.volumesInUse, _unready_since(node), node.spec.taints if node.spec else None)


def _may_detach(node: core_v1.Node | None, name: str, now: datetime) -> bool:
    """Tell whether a volume that no pod of a node uses may be taken from it."""
    if node is None or any(taint.key == OUT_OF_SERVICE for taint in (node.spec.taints if node.spec else None) or ()):
        return True
    if name not in ((node.status.volumesInUse if node.status else None) or ()):
        return True
    since = _unready_since(node)
    return since is not None and now - since >= FORCE_AFTER


def _unready_since(node: core_v1.Node) -> datetime | None:
    """Return since when a node has not been ready; None if it is."""
    conditions = (node.status.conditions if node.status else None) or ()
    ready = next((one for one in conditions if one.type == "Ready"), None)
    return ready.lastTransitionTime if ready is not None and ready.status != "True" else None


def _volume_of(attachment: storage_v1.VolumeAttachment) -> str:
    return attachment.spec.source.persistentVolumeName or ""


def _is_shared(volume: core_v1.PersistentVolume) -> bool:
    assert volume.spec
    return bool({"ReadWriteMany", "ReadOnlyMany"} & set(volume.spec.accessModes or ()))
