import asyncio
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from knarr.cluster import images
from knarr.kit.clock import SystemClock
from knarr.node import cgroups
from knarr.node.runtime import containerd

BUSYBOX = "localhost/busybox:1"
ARCHIVE = Path(__file__).resolve().parents[3] / "build/images/busybox.tar"
SUBNET = "10.199.77"
BRIDGE = "knarrtest0"
CGROUP_ROOT = "/knarr-livetest"


def _write_network(folder: Path, state: Path) -> None:
    folder.mkdir(parents=True)
    plugins = [
        {
            "type": "bridge",
            "bridge": BRIDGE,
            "isGateway": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(state / "ipam"),
                "ranges": [[{"subnet": f"{SUBNET}.0/24"}]],
                "routes": [{"dst": "0.0.0.0/0"}],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    config = {"cniVersion": "0.4.0", "name": "knarrtest", "plugins": plugins}
    (folder / "10-knarr.conflist").write_text(json.dumps(config))


@dataclass(frozen=True)
class Machine:
    """The one containerd of all live tests, and what is in it."""

    config: containerd.Config
    folder: Path
    busybox: str = BUSYBOX
    subnet: str = SUBNET
    cgroup_root: str = CGROUP_ROOT


@pytest.fixture(scope="session")
def machine() -> Iterator[Machine]:
    if os.geteuid() != 0 or shutil.which("containerd") is None or not ARCHIVE.exists():
        pytest.skip("needs root, containerd and the images that scripts/images builds")
    root = Path(tempfile.mkdtemp(prefix="knarr-live-"))
    config = containerd.detect_config(
        root / "containerd",
        root / "run",
        root / "containerd.log",
        cni_conf=root / "cni",
        sandbox_image=images.PAUSE_REFERENCE,
    )
    _write_network(config.cni_conf, root)

    async def prepare() -> None:
        await containerd.Containerd(config, SystemClock()).start()
        images.write_pause_archive(root / "pause.tar")
        for archive in (root / "pause.tar", ARCHIVE):
            await images.load_archive(config.socket, archive)

    asyncio.run(prepare())
    try:
        yield Machine(config, root)
    finally:
        asyncio.run(containerd.remove_everything(config, SystemClock()))
        cgroups.remove_tree(CGROUP_ROOT)
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["ip", "link", "delete", BRIDGE], check=False, capture_output=True)
        shutil.rmtree(root)
