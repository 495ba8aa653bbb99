"""persistentVolumeClaim: the volume that a claim is bound to, as far as it lies on this node (hostPath, local) or an NFS server.

Source: pkg/volume/local/local.go, pkg/volume/hostpath/host_path.go, pkg/volume/nfs/nfs.go (v1.37).
"""

import asyncio
from pathlib import Path

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes import hostpath, localpath, mounts
from knarr.node.volumes.ownership import give_to_group
from knarr.node.volumes.volume import Mounted, Work

_MOUNT_TIMEOUT_S = 60.0


async def set_up_claim(work: Work, volume: core_v1.Volume) -> Mounted:
    """Make a claim's volume ready."""
    source = volume.persistentVolumeClaim
    assert source is not None
    return await _set_up(work, volume.name, source.claimName, readonly=bool(source.readOnly))


async def set_up_ephemeral(work: Work, volume: core_v1.Volume) -> Mounted:
    """Make the claim that was made for this pod ready."""
    return await _set_up(work, volume.name, f"{specs.name_of(work.pod)}-{volume.name}", readonly=False)


async def set_up_nfs(work: Work, volume: core_v1.Volume) -> Mounted:
    """Mount an NFS export."""
    assert volume.nfs is not None
    return await _nfs(work, volume.name, volume.nfs, [])


async def _set_up(work: Work, name: str, claim: str, *, readonly: bool) -> Mounted:
    persistent = await work.source.claim(claim)
    spec = persistent.spec
    assert spec is not None
    if spec.nfs is not None:
        return await _nfs(work, name, spec.nfs, spec.mountOptions or [])
    if spec.hostPath is not None:
        return Mounted(hostpath.check(spec.hostPath.path, spec.hostPath.type or ""), readonly)
    if spec.local is not None:
        place = Path(spec.local.path)
        if localpath.is_folder_volume(persistent):
            localpath.make(place)
        if not place.exists():
            raise VolumeMissing(f'path "{place}" does not exist')
        if work.group is not None and place.is_dir():
            context = specs.spec_of(work.pod).securityContext
            policy = context.fsGroupChangePolicy if context is not None else None
            give_to_group(place, work.group, only_on_mismatch=policy == "OnRootMismatch")
        return Mounted(place, readonly)
    name = persistent.metadata.name if persistent.metadata is not None and persistent.metadata.name else ""
    raise VolumeMissing(f'this node knows no volume of the kind of PersistentVolume "{name}"')


async def _nfs(work: Work, name: str, source: core_v1.NFSVolumeSource, options: list[str]) -> Mounted:
    place = work.place("nfs", name)
    if not mounts.is_mount(place):
        place.mkdir(parents=True, exist_ok=True)
        words = [*options, "ro"] if source.readOnly else options
        arguments = [
            "-t",
            "nfs",
            *(["-o", ",".join(words)] if words else []),
            f"{source.server}:{source.path}",
            str(place),
        ]
        process = await asyncio.create_subprocess_exec(
            "mount", *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            output, _ = await asyncio.wait_for(process.communicate(), _MOUNT_TIMEOUT_S)
        except TimeoutError:
            process.kill()
            raise VolumeMissing(
                f"mount of {source.server}:{source.path} took more than {_MOUNT_TIMEOUT_S:.0f} s"
            ) from None
        if process.returncode:
            raise VolumeMissing(
                f"mount failed: exit status {process.returncode}: {output.decode(errors='replace').strip()}"
            )
    return Mounted(place, bool(source.readOnly))
