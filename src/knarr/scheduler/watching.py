"""What the scheduler hears from the API, told to the cluster, the queue and the plugins.

Upstream counterpart: pkg/scheduler/eventhandlers.go (v1.37).
"""

from collections.abc import Mapping

from lightkube.models import core_v1, policy_v1, resource_v1, storage_v1

from knarr.control import Context
from knarr.scheduler import podfacts, volumes
from knarr.scheduler.binding import WaitingPods
from knarr.scheduler.cluster import Cluster
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.kinship import Kinship
from knarr.scheduler.nominator import Nominator
from knarr.scheduler.plugins import gang_scheduling, order
from knarr.scheduler.plugins.dynamic_resources import Devices
from knarr.scheduler.profile import DEFAULT_NAME
from knarr.scheduler.queue import Queue

UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


class Watching:
    """Listens.

    Args:
        context: Client, informers and clock.
        cluster: Is told of nodes and of pods that have one.
        queue: Is told of pods that have none, and of what may help them.
        nominator: Forgets pods that got a node or are gone.
        waiting: So do these.
    """

    def __init__(
        self, context: Context, cluster: Cluster, queue: Queue, nominator: Nominator, waiting: WaitingPods
    ) -> None:
        self._context = context
        self._informers = context.informers.view()
        self._cluster = cluster
        self._queue = queue
        self._nominator = nominator
        self._waiting = waiting
        self._names: frozenset[str] = frozenset()
        self._namespaces = self._informers.of(core_v1.Namespace)
        self._budgets = self._informers.of(policy_v1.PodDisruptionBudget)
        self._claims = self._informers.of(core_v1.PersistentVolumeClaim)
        self._volumes = self._informers.of(core_v1.PersistentVolume)
        self._classes = self._informers.of(storage_v1.StorageClass)
        self._capacities = self._informers.of(storage_v1.CSIStorageCapacity)
        self._drivers = self._informers.of(storage_v1.CSIDriver)
        self._csi_nodes = self._informers.of(storage_v1.CSINode)
        self._attachments = self._informers.of(storage_v1.VolumeAttachment)
        self._resource_claims = self._informers.of(resource_v1.ResourceClaim)
        self._device_classes = self._informers.of(resource_v1.DeviceClass)
        self._slices = self._informers.of(resource_v1.ResourceSlice)
        self._nodes = self._informers.of(core_v1.Node)
        self._pods = self._informers.of(core_v1.Pod, field_selector=UNFINISHED)

    def tools(self) -> order.Tools:
        """Return what plugins may use."""
        self._pods.add_index(gang_scheduling.NAME, _group)
        self._volumes.add_index("class", lambda volume: (volumes.class_of(volume),))
        storage = volumes.Storage(
            claim=self._claims.get,
            volume=lambda name: self._volumes.get("", name),
            storage_class=lambda name: self._classes.get("", name),
            volumes=lambda name: self._volumes.by_index("class", name),
            capacities=self._capacities.list,
            driver=lambda name: self._drivers.get("", name),
            csi_node=lambda name: self._csi_nodes.get("", name),
            attachments=self._attachments.list,
        )
        return order.Tools(
            client=self._context.client,
            clock=self._context.clock,
            cluster=self._cluster,
            waiting=self._waiting,
            namespaces=self._namespace_labels,
            storage=storage,
            selector_of=Kinship(self._informers).selector_of,
            budgets=self._budgets.list,
            devices=Devices(
                claim=self._resource_claims.get,
                claims=self._resource_claims.list,
                device_class=lambda name: self._device_classes.get("", name),
                slices=self._slices.list,
            ),
            members=lambda namespace, name: len(self._pods.by_index(gang_scheduling.NAME, f"{namespace}/{name}")),
        )

    def watch(self, names: frozenset[str]) -> None:
        """Begin to listen, for pods of the schedulers of these names."""
        self._names = names
        self._nodes.on_change(self._observe_node)
        self._pods.on_change(self._observe_pod)
        for kind in (self._claims, self._volumes, self._classes, self._capacities, self._drivers, self._csi_nodes):
            kind.on_change(self._observe_storage)
        self._attachments.on_change(self._observe_storage)
        for one in (self._resource_claims, self._device_classes, self._slices):
            one.on_change(self._observe_devices)

    async def wait_synced(self) -> None:
        """Wait until all is known."""
        await self._informers.wait_synced()

    def pod(self, namespace: str, name: str) -> core_v1.Pod | None:
        """Return a pod as it is now."""
        return self._pods.get(namespace, name)

    def _observe_storage(self, old: object, new: object) -> None:
        self._queue.move(Event(Kind.STORAGE, storage=new if new is not None else old))

    def _observe_devices(self, old: object, new: object) -> None:
        self._queue.move(Event(Kind.RESOURCE_CLAIMS))

    def _observe_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if new is None:
            assert old is not None and old.metadata
            self._cluster.remove_node(old.metadata.name or "")
            return
        if old is None:
            self._cluster.set_node(new)
            self._queue.move(Event(Kind.NODE_ADDED, node=new))
            return
        event = Event(Kind.NODE_UPDATED, node=new, old_node=old)
        is_helpful = event.changes_labels or event.changes_resources or event.changes_taints
        if is_helpful or _images(old) != _images(new):
            self._cluster.set_node(new)
        if is_helpful:
            self._queue.move(event)

    def _observe_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> None:
        if old is not None and (new is None or _uid(new) != _uid(old) or _is_finished(new)):
            self._forget(old)
            old = None
        if new is None or _is_finished(new):
            return
        assert new.metadata and new.spec
        if old is not None and _is_same(old, new):
            return
        if new.spec.nodeName:
            self._place(new)
        elif new.metadata.deletionTimestamp is not None:
            self._drop(_uid(new), "the pod is being deleted")
        elif (new.spec.schedulerName or DEFAULT_NAME) in self._names and _uid(new) not in self._cluster.located:
            facts = podfacts.of(new)  # one that is located is being bound
            self._queue.add(facts)
            if old is None and _group(new):
                self._queue.move(Event(Kind.GROUP, pod=facts))

    def _place(self, pod: core_v1.Pod) -> None:
        assert pod.spec
        uid = _uid(pod)
        known = self._cluster.known(uid)
        facts = podfacts.again(known, pod) if known is not None else podfacts.of(pod)
        self._queue.remove(uid)
        self._nominator.forget(uid)
        self._cluster.add_pod(facts, pod.spec.nodeName or "")
        self._queue.move(Event(Kind.POD_ADDED if known is None else Kind.POD_UPDATED, pod=facts, old_pod=known))

    def _drop(self, uid: str, reason: str) -> None:
        self._queue.remove(uid)
        self._nominator.forget(uid)
        waiting = self._waiting.get(uid)
        if waiting is not None:
            waiting.reject("", reason)

    def _forget(self, pod: core_v1.Pod) -> None:
        uid = _uid(pod)
        was_nominated = bool(self._nominator.node_of(uid))
        self._drop(uid, "the pod is gone")
        facts = self._cluster.remove_pod(uid)
        if facts is not None or was_nominated:
            self._queue.move(Event(Kind.POD_GONE, pod=facts or podfacts.of(pod)))

    def _namespace_labels(self) -> Mapping[str, Mapping[str, str]]:
        return {one.metadata.name or "": one.metadata.labels or {} for one in self._namespaces.list() if one.metadata}


def _group(pod: core_v1.Pod) -> tuple[str, ...]:
    """Return the group of a pod, for the index of groups."""
    meta = pod.metadata
    name = (meta.labels or {}).get(gang_scheduling.NAME) if meta else None
    return (f"{meta.namespace}/{name}",) if meta and name else ()


def _uid(pod: core_v1.Pod) -> str:
    return (pod.metadata.uid or "") if pod.metadata else ""


def _is_finished(pod: core_v1.Pod) -> bool:
    return pod.status is not None and pod.status.phase in ("Succeeded", "Failed")


def _images(node: core_v1.Node) -> object:
    return node.status.images if node.status else None


def _is_same(old: core_v1.Pod, new: core_v1.Pod) -> bool:
    """Tell whether nothing that scheduling depends on has changed: most changes of a pod are of its status."""
    assert old.metadata and new.metadata
    return (
        old.metadata.deletionTimestamp == new.metadata.deletionTimestamp
        and old.metadata.labels == new.metadata.labels
        and old.spec == new.spec
        and _claims(old) == _claims(new)
        and podfacts.granted(old) == podfacts.granted(new)
    )


def _claims(pod: core_v1.Pod) -> object:
    return pod.status.resourceClaimStatuses if pod.status else None
