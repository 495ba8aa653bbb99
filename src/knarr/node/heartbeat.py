"""Making and keeping this machine a node: registration, the status when it changes, and the Lease that says it lives.

Counterpart: pkg/kubelet/kubelet_node_status.go, k8s.io/component-helpers/apimachinery/lease (v1.37).
"""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from lightkube.models import coordination_v1, core_v1, meta_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.kit.clock import Clock
from knarr.node import machine as machines
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Condition, Image, Runtime, Version
from knarr.node.runtime.runtime import Images as ImageService
from knarr.node.status import Identity, Reading, is_ready, is_settled, node_labels, node_object, node_status
from knarr.node.waiting import wait_set

LEASE_NAMESPACE = "kube-node-lease"
LEASE_DURATION_S = 40
RENEW_S = 10.0
STATUS_S = 10.0
REPORT_UNCHANGED = timedelta(minutes=5)
NOT_READY_S = 0.1
"""How often is looked while the node is not ready: pods wait for it."""
RETRY_S = 0.2
_LOST = (Condition("RuntimeReady", ready=False, reason="RuntimeDown", message="the container runtime does not answer"),)

logger = logging.getLogger(__name__)


class Heartbeat:
    """The Node object and the Lease of this node.

    Args:
        client: The API, as the node.
        identity: What the node is.
        runtime: Its conditions and images.
        clock: The time.
        storage: A folder on the file system that pods write to.
        image_storage: One on the file system that images are on.
    """

    def __init__(
        self,
        client: Client,
        identity: Identity,
        runtime: Any,
        clock: Clock,
        *,
        storage: Path,
        image_storage: Path,
    ) -> None:
        self._client = client
        self._identity = identity
        self._runtime: Runtime = runtime
        self._images: ImageService = runtime
        self._clock = clock
        self._storage = storage
        self._image_storage = image_storage
        self._version: Version | None = None
        self._node: core_v1.Node | None = None
        self._lease: coordination_v1.Lease | None = None
        self.registered = asyncio.Event()
        self.changed = asyncio.Event()

    def observe(self, _old: core_v1.Node | None, node: core_v1.Node | None) -> None:
        """Take in what somebody else has written; the handler of an informer of this Node alone."""
        if node is None or self._node is None or _revision(node) <= _revision(self._node):
            return
        self._node = node
        if node.status is not None and not is_settled(node.status):
            self.changed.set()

    async def report(self) -> None:
        """Register the node, then keep its status right until cancelled."""
        while True:
            try:
                status = await self._report()
            except errors.StatusError as err:
                logger.debug("node status: %s", err)
                self.registered.clear()
                await self._clock.sleep(RETRY_S)
                continue
            pause_s = STATUS_S if is_ready(status) else NOT_READY_S
            await wait_set(self.changed, self._clock, pause_s)
            self.changed.clear()

    async def renew(self) -> None:
        """Renew the Lease until cancelled."""
        await self.registered.wait()
        while True:
            try:
                await self._renew()
            except errors.StatusError as err:
                logger.debug("node lease: %s", err)
                self._lease = None
                await self._clock.sleep(RETRY_S)
                continue
            await self._clock.sleep(RENEW_S)

    async def _report(self) -> core_v1.NodeStatus:
        reading = await self._read()
        if self._node is None or not self.registered.is_set():
            self._node = await self._register(reading)
            self.registered.set()
        old = self._node.status
        status = node_status(self._identity, reading, old, now=self._clock.now())
        if not self._is_due(old, status):
            return status
        self._node = await self._client.patch(
            core_v1.Node,
            self._identity.name,
            {"status": status_patch(old, status)},
            PatchType.STRATEGIC,
            subresource="status",
        )
        return status

    async def _register(self, reading: Reading) -> core_v1.Node:
        status = node_status(self._identity, reading, None, now=self._clock.now())
        try:
            return await self._client.create(node_object(self._identity, status))
        except errors.AlreadyExists:
            node = await self._client.get(core_v1.Node, self._identity.name)
        labels = (node.metadata.labels if node.metadata is not None else None) or {}
        missing = {key: value for key, value in node_labels(self._identity).items() if labels.get(key) != value}
        if missing:
            body = {"metadata": {"labels": missing}}
            node = await self._client.patch(core_v1.Node, self._identity.name, body, PatchType.STRATEGIC)
        return node

    def _is_due(self, old: core_v1.NodeStatus | None, new: core_v1.NodeStatus) -> bool:
        if old is None or _comparable(old) != _comparable(new):
            return True
        beats = [c.lastHeartbeatTime for c in old.conditions or [] if c.lastHeartbeatTime is not None]
        return not beats or self._clock.now() - min(beats) > REPORT_UNCHANGED

    async def _read(self) -> Reading:
        images: list[Image] = []
        try:
            self._version = await self._runtime.version()
            conditions = tuple(await self._runtime.conditions())
            images = await self._images.list_images()
        except RuntimeFailure as err:
            logger.debug("node status: %s", err)
            conditions = _LOST
        return Reading(
            version=self._version or Version("containerd", "unknown"),
            runtime=conditions,
            images=tuple(images),
            memory_bytes=machines.available_memory_bytes(),
            storage_share=machines.free_share(self._storage),
            image_storage_share=machines.free_share(self._image_storage),
            pids=machines.free_pids(),
        )

    async def _renew(self) -> None:
        name = self._identity.name
        if self._lease is None:
            self._lease = await self._find_lease()
        lease = self._lease
        spec = lease.spec or coordination_v1.LeaseSpec()
        renewed = msgspec.structs.replace(spec, holderIdentity=name, renewTime=self._clock.now())
        lease = msgspec.structs.replace(lease, spec=renewed)
        if lease.metadata is not None and lease.metadata.ownerReferences is None:
            lease.metadata.ownerReferences = self._owner()
        self._lease = await self._client.update(lease)

    async def _find_lease(self) -> coordination_v1.Lease:
        name = self._identity.name
        try:
            return await self._client.get(coordination_v1.Lease, name, namespace=LEASE_NAMESPACE)
        except errors.NotFound:
            return await self._client.create(
                coordination_v1.Lease(
                    metadata=meta_v1.ObjectMeta(name=name, namespace=LEASE_NAMESPACE, ownerReferences=self._owner()),
                    spec=coordination_v1.LeaseSpec(
                        holderIdentity=name, leaseDurationSeconds=LEASE_DURATION_S, renewTime=self._clock.now()
                    ),
                )
            )

    def _owner(self) -> list[meta_v1.OwnerReference] | None:
        metadata = self._node.metadata if self._node is not None else None
        if metadata is None:
            return None
        return [meta_v1.OwnerReference(apiVersion="v1", kind="Node", name=metadata.name or "", uid=metadata.uid or "")]


def _comparable(status: core_v1.NodeStatus) -> Any:
    plain = msgspec.to_builtins(status)
    for condition in plain.get("conditions") or []:
        condition.pop("lastHeartbeatTime", None)
    ours = {
        name: plain.get(name)
        for name in ("addresses", "allocatable", "capacity", "daemonEndpoints", "nodeInfo", "images")
    }
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ours["conditions"] = [c for c in plain.get("conditions") or [] if c["type"] in kinds]
    return ours


def status_patch(old: core_v1.NodeStatus | None, new: core_v1.NodeStatus) -> dict[str, Any]:
    """Return the strategic merge patch from what the API has to what it should have."""
    before = msgspec.to_builtins(old) if old is not None else {}
    patch = {key: value for key, value in msgspec.to_builtins(new).items() if before.get(key) != value}
    if before.get("addresses") and "addresses" in patch:
        patch["addresses"] = [{"$patch": "replace"}, *patch["addresses"]]
    if "allocatable" in patch:
        gone = dict.fromkeys(before.get("allocatable") or (), None)
        patch["allocatable"] = {**gone, **patch["allocatable"]}
    return patch


def _revision(node: core_v1.Node) -> int:
    return int((node.metadata.resourceVersion if node.metadata is not None else None) or 0)
