"""Container images without a registry: OCI archives written here and imported into a cluster's containerd.

The pause image, which holds a pod's namespaces, is made on the spot from the machine's static `catatonit`.

Source: OCI image layout 1.0, https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

import asyncio
import hashlib
import io
import json
import platform
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knarr.cluster.errors import ClusterError

PAUSE_REFERENCE = "localhost/knarr/pause:1"
CRI_NAMESPACE = "k8s.io"
"""The containerd namespace that CRI uses."""
IMPORT_TIMEOUT_S = 300.0

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"


@dataclass(frozen=True, slots=True)
class Image:
    """What an image is called and how it runs.

    Attributes:
        reference: Full name with registry and tag, such as "localhost/app:1".
        entrypoint: The program.
        command: Its default arguments.
        environment: Variables.
        user: `uid[:gid]` or a name; empty means root.
        working_dir: Absolute; empty means "/".
    """

    reference: str
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    working_dir: str = ""


def write_archive(path: Path, image: Image, layers: Sequence[bytes]) -> None:
    """Write an OCI archive with one image.

    Args:
        path: The tar file to write.
        image: Name and configuration.
        layers: Uncompressed tar files, lowest first.
    """
    blobs = {_digest(layer): layer for layer in layers}
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **image.environment}
    config = {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {
            "Env": [f"{name}={value}" for name, value in environment.items()],
            "Entrypoint": list(image.entrypoint),
            "Cmd": list(image.command),
            "User": image.user,
            "WorkingDir": image.working_dir or "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]},
    }
    config_descriptor = _add_json(blobs, config, _CONFIG)
    descriptors = [{"mediaType": _LAYER, "digest": _digest(layer), "size": len(layer)} for layer in layers]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": config_descriptor, "layers": descriptors}
    manifest_descriptor = _add_json(blobs, manifest, _MANIFEST)
    manifest_descriptor["annotations"] = {"io.containerd.image.name": image.reference}
    with tarfile.open(path, "w") as archive:
        add_file(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        add_file(archive, "index.json", json.dumps({"schemaVersion": 2, "manifests": [manifest_descriptor]}).encode())
        for digest, blob in blobs.items():
            add_file(archive, f"blobs/sha256/{digest.removeprefix('sha256:')}", blob)


def layer_of(files: Mapping[str, bytes], *, links: Mapping[str, str] | None = None) -> bytes:
    """Return a layer (a tar) of executable files.

    Args:
        files: Path inside the image, without leading "/", to content; all become 0755, owned by root.
        links: Path inside the image to the target of a symbolic link.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as layer:
        for name, content in files.items():
            add_file(layer, name, content, mode=0o755)
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            layer.addfile(info)
    return buffer.getvalue()


def add_file(archive: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    """Append a file owned by root and dated 1970, so that equal contents give equal archives."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, io.BytesIO(content))


def write_pause_archive(path: Path) -> None:
    """Write the archive of the pause image.

    Raises:
        ClusterError: catatonit is not installed.
    """
    program = shutil.which("catatonit")
    if program is None:
        raise ClusterError("catatonit is not installed: `apt-get install catatonit`")
    layer = layer_of({"pause": Path(program).read_bytes()})
    write_archive(path, Image(PAUSE_REFERENCE, entrypoint=["/pause", "-P"]), [layer])


async def load_archive(socket: Path, path: Path) -> list[str]:
    """Import an OCI or Docker archive into containerd, unpacked and visible to the node agent.

    Args:
        socket: containerd's.
        path: The archive.

    Returns:
        The names of the images in it.

    Raises:
        ClusterError: The archive cannot be read, or containerd refuses it.
    """
    if not path.is_file():
        raise ClusterError(f"{path}: no such file")
    command = ["ctr", "--address", str(socket), "--namespace", CRI_NAMESPACE, "images", "import", str(path)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), IMPORT_TIMEOUT_S)
    except TimeoutError as err:
        process.kill()
        raise ClusterError(f"importing {path} took more than {IMPORT_TIMEOUT_S:.0f} s") from err
    if process.returncode != 0:
        raise ClusterError(f"importing {path}: {errors.decode(errors='replace').strip().removeprefix('ctr: ')}")
    return [line.split()[1] for line in output.decode().splitlines() if line.startswith("unpacking ")]


def _digest(blob: bytes) -> str:
    return "sha256:" + hashlib.sha256(blob).hexdigest()


def _add_json(blobs: dict[str, bytes], value: Mapping[str, Any], media_type: str) -> dict[str, Any]:
    blob = json.dumps(value, sort_keys=True).encode()
    blobs[_digest(blob)] = blob
    return {"mediaType": media_type, "digest": _digest(blob), "size": len(blob)}
