"""All volumes of one pod: made ready, kept up to date, shown to containers, given back.

Counterpart: pkg/kubelet/volumemanager, pkg/kubelet/kubelet_pods.go makeMounts (v1.37).
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from lightkube.models import core_v1

from knarr.api.errors import StatusError
from knarr.node.pods import spec as specs
from knarr.node.pods.env import Facts, expand
from knarr.node.pods.errors import ConfigFailed, MountFailed, StartFailed, VolumeMissing
from knarr.node.pods.spec import ContainerSpec
from knarr.node.runtime.runtime import Mount, Propagation
from knarr.node.volumes import mounts, subpath, table
from knarr.node.volumes.source import ApiSource
from knarr.node.volumes.volume import Mounted, Work

_PROPAGATION = {
    "None": Propagation.PRIVATE,
    "HostToContainer": Propagation.HOST_TO_CONTAINER,
    "Bidirectional": Propagation.BIDIRECTIONAL,
}


class PodVolumes:
    """The volumes of one pod.

    Args:
        folder: `pods/UID`.
        source: Gives contents.
        facts: The pod's node, without addresses of the pod.
        memory_bytes: What a volume in memory may hold without a limit of its own.
    """

    def __init__(self, folder: Path, source: ApiSource, facts: Facts, *, memory_bytes: int = 0) -> None:
        self._folder = folder
        self._source = source
        self._facts = facts
        self._memory_bytes = memory_bytes
        self._ready: dict[str, Mounted] = {}

    @property
    def refresh_at(self) -> datetime | None:
        """When contents must be looked at again without a change: a token ages."""
        return self._source.renew_at

    async def set_up(self, pod: core_v1.Pod) -> None:
        """Make all volumes ready, side by side.

        Raises:
            MountFailed: One cannot be made; the others go on.
        """
        volumes = specs.spec_of(pod).volumes or []
        results = await asyncio.gather(*(self._set_up(pod, volume) for volume in volumes), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def refresh(self, pod: core_v1.Pod) -> None:
        """Bring volumes that follow API objects up to date.

        Raises:
            MountFailed: One cannot be read now; it stays as it is.
        """
        for volume in specs.spec_of(pod).volumes or []:
            if any(getattr(volume, kind) is not None for kind in table.FOLLOWING):
                await self._set_up(pod, volume)

    def mounts(self, container: ContainerSpec, environment: Mapping[str, str]) -> tuple[list[Mount], list[int]]:
        """Return a container's mounts, and the groups that they need.

        Args:
            container: One of the pod's containers.
            environment: Expands subPathExpr.

        Raises:
            ConfigFailed: It mounts a volume that the pod does not have.
            StartFailed: A subPath cannot be used.
        """
        found: list[Mount] = []
        groups: list[int] = []
        for index, mount in enumerate(container.volumeMounts or []):
            volume = self._ready.get(mount.name)
            if volume is None:
                raise ConfigFailed(f'cannot find volume "{mount.name}" to mount into container "{container.name}"')
            part = expand(mount.subPathExpr, environment) if mount.subPathExpr else mount.subPath or ""
            path = self._part(volume, mount.name, container.name, index, part) if part else volume.path
            place = mount.mountPath if mount.mountPath.startswith("/") else f"/{mount.mountPath}"
            found.append(
                Mount(
                    container_path=place,
                    host_path=str(path),
                    readonly=bool(mount.readOnly) or volume.readonly,
                    propagation=_PROPAGATION[mount.mountPropagation or "None"],
                )
            )
            groups.extend(volume.groups)
        return found, groups

    async def tear_down(self) -> None:
        """Unmount and remove everything below the pod's volume folders."""
        self._ready.clear()
        await asyncio.to_thread(remove_volumes, self._folder)

    async def _set_up(self, pod: core_v1.Pod, volume: core_v1.Volume) -> None:
        set_up = next((set_up for kind, set_up in table.KINDS.items() if getattr(volume, kind) is not None), None)
        if set_up is None:
            raise MountFailed(volume.name, "this node knows no such kind of volume")
        work = Work(pod, self._folder, self._source, self._facts, self._memory_bytes)
        try:
            self._ready[volume.name] = await set_up(work, volume)
        except VolumeMissing as err:
            raise MountFailed(volume.name, str(err)) from err
        except OSError as err:
            raise MountFailed(volume.name, f"{err.filename or ''}: {err.strerror or err}") from err
        except StatusError as err:
            raise MountFailed(volume.name, err.message) from err

    def _part(self, volume: Mounted, name: str, container: str, index: int, part: str) -> Path:
        target = self._folder / "volume-subpaths" / name / container / str(index)
        try:
            if mounts.is_mount(target):
                mounts.unmount(target)  # of an earlier start of the container: the part may be another by now
            return subpath.bind_part(volume.path, part, target)
        except (VolumeMissing, OSError) as err:
            message = f'failed to prepare subPath for volumeMount "{name}" of container "{container}"'
            raise StartFailed("CreateContainerConfigError", message, event="Failed") from err

    def with_addresses(self, ips: tuple[str, ...]) -> Facts:
        """Return the facts with the pod's addresses."""
        return replace(self._facts, pod_ips=ips)


def remove_volumes(folder: Path) -> None:
    """Unmount and remove the volumes below `pods/UID`; whatever a hostPath volume names is not below it."""
    for name in ("volume-subpaths", "volumes"):
        place = folder / name
        if place.exists():
            mounts.unmount_below(place)
            if not mounts.list_below(place):
                shutil.rmtree(place, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove all of `pods/UID`."""
    remove_volumes(folder)
    if not mounts.list_below(folder):
        shutil.rmtree(folder, ignore_errors=True)
