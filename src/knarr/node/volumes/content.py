"""Volumes whose files are made from API objects: configMap, secret, downwardAPI and projected.

All are written by the atomic writer, and written again when an object changes. Those that may hold secrets lie in memory.
"""

import os
from datetime import UTC, datetime

from lightkube.models import core_v1

from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes import atomic, configmap, downwardapi, mounts, projected, secret
from knarr.node.volumes.volume import Mounted, Payload, Work

DEFAULT_MODE = 0o644


async def set_up_config_map(work: Work, volume: core_v1.Volume) -> Mounted:
    """Show a ConfigMap."""
    source = volume.configMap
    assert source is not None
    files = await configmap.payload(
        work,
        source.name or "",
        source.items,
        optional=source.optional,
        mode=_mode(source.defaultMode),
        user=source.defaultUser,
    )
    return _write(work, volume, "configmap", files, in_memory=False)


async def set_up_secret(work: Work, volume: core_v1.Volume) -> Mounted:
    """Show a Secret."""
    source = volume.secret
    assert source is not None
    files = await secret.payload(
        work,
        source.secretName or "",
        source.items,
        optional=source.optional,
        mode=_mode(source.defaultMode),
        user=source.defaultUser,
    )
    return _write(work, volume, "secret", files, in_memory=True)


async def set_up_downward_api(work: Work, volume: core_v1.Volume) -> Mounted:
    """Show what the pod is."""
    source = volume.downwardAPI
    assert source is not None
    files = downwardapi.payload(work, source.items, mode=_mode(source.defaultMode), user=source.defaultUser)
    return _write(work, volume, "downward-api", files, in_memory=True)


async def set_up_projected(work: Work, volume: core_v1.Volume) -> Mounted:
    """Show several sources."""
    source = volume.projected
    assert source is not None
    files = await projected.payload(work, source.sources, mode=_mode(source.defaultMode), user=source.defaultUser)
    return _write(work, volume, "projected", files, in_memory=True)


def _mode(mode: int | None) -> int:
    return DEFAULT_MODE if mode is None else mode


def _write(work: Work, volume: core_v1.Volume, kind: str, files: Payload, *, in_memory: bool) -> Mounted:
    place = work.place(kind, volume.name)
    place.mkdir(parents=True, exist_ok=True)
    if in_memory and not mounts.is_mount(place):
        mounts.mount_tmpfs(place)
    if work.group is not None:
        os.chown(place, -1, work.group)
    place.chmod(0o777 if work.group is None else 0o2777)
    try:
        atomic.write(place, files, group=work.group, now=datetime.now(UTC))
    except ValueError as err:
        raise VolumeMissing(str(err)) from err
    return Mounted(place, readonly=True)
