"""One copy of what many cached objects have in common.

Pods of one template repeat its labels, owner, tolerations, volumes and resources. Parts that are equal become one object, which is
safe as cached objects are never changed.
"""

from sys import intern
from typing import Any

import msgspec
from lightkube.models import core_v1

LIMIT = 20_000
"""Parts remembered at most; then all are forgotten, and later equals are kept once more."""

_META = ("namespace", "generateName")
_SPEC = (
    "nodeName", "preemptionPolicy", "schedulerName", "dnsPolicy", "restartPolicy", "serviceAccount", "serviceAccountName",
    "priorityClassName",
)  # fmt: skip
_CONTAINER = ("name", "image", "imagePullPolicy", "terminationMessagePath", "terminationMessagePolicy")
_STATUS = ("phase", "qosClass", "hostIP", "podIP")
_CONTAINER_STATUS = ("name", "image", "imageID")
"""Texts of which there are few that differ."""

_encode = msgspec.json.Encoder().encode


class Pool:
    """The parts that were seen."""

    def __init__(self) -> None:
        self._parts: dict[tuple[str, bytes], Any] = {}

    def share(self, obj: Any) -> None:
        """Replace the parts of an object that was just decoded by equal ones that were seen before."""
        if type(obj) is not core_v1.Pod or obj.metadata is None or obj.spec is None:
            return
        meta, spec = obj.metadata, obj.spec
        _intern(meta, _META)
        _intern(spec, _SPEC)
        meta.labels = self._one("labels", meta.labels)
        meta.annotations = self._one("annotations", meta.annotations)
        meta.ownerReferences = self._one("owners", meta.ownerReferences)
        spec.tolerations = self._one("tolerations", spec.tolerations)
        spec.affinity = self._one("affinity", spec.affinity)
        spec.topologySpreadConstraints = self._one("spread", spec.topologySpreadConstraints)
        spec.securityContext = self._one("security", spec.securityContext)
        for volume in spec.volumes or ():
            volume.name = intern(volume.name)
            volume.projected = self._one("projected", volume.projected)
        for container in [*(spec.initContainers or ()), *spec.containers]:
            _intern(container, _CONTAINER)
            for mount in container.volumeMounts or ():
                mount.name, mount.mountPath = intern(mount.name), intern(mount.mountPath)
            container.resources = self._one("resources", container.resources)
            container.env = self._one("env", container.env)
            container.command = self._one("command", container.command)
            container.args = self._one("args", container.args)
            container.ports = self._one("ports", container.ports)
            for name in ("livenessProbe", "readinessProbe", "startupProbe"):
                setattr(container, name, self._one("probe", getattr(container, name)))
        if obj.status is not None:
            self._share_status(obj.status)

    def _share_status(self, status: core_v1.PodStatus) -> None:
        _intern(status, _STATUS)
        for address in status.podIPs or ():
            address.ip = intern(address.ip)
        status.hostIPs = self._one("host", status.hostIPs)
        if status.conditions:
            status.conditions = [self._one("condition", condition) for condition in status.conditions]
        for container in status.containerStatuses or ():
            _intern(container, _CONTAINER_STATUS)
            for mount in container.volumeMounts or ():
                mount.name, mount.mountPath = intern(mount.name), intern(mount.mountPath)
            container.state = self._one("state", container.state)
            container.lastState = self._one("state", container.lastState)
            container.resources = self._one("resources", container.resources)
            container.allocatedResources = self._one("amounts", container.allocatedResources)

    def _one(self, kind: str, part: Any) -> Any:
        if not part:
            return part
        if len(self._parts) >= LIMIT:
            self._parts.clear()
        return self._parts.setdefault((kind, _encode(part)), part)


def _intern(obj: Any, names: tuple[str, ...]) -> None:
    for name in names:
        text = getattr(obj, name)
        if text:
            setattr(obj, name, intern(text))
