"""The pod network of this node: the bridge, and the CNI configuration that the container runtime reads.

The bridge stands before the first pod does: it carries the cluster DNS address from the start, and the node's gateway address as soon
as the Node object has a pod range. When that range changes, bridge and configuration follow.

Upstream counterpart: a CNI add-on such as kindnet.
Source: CNI specification 1.0.0, https://www.cni.dev/docs/spec/; plugins bridge and host-local.
"""

import asyncio
import ipaddress
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.control.informer import Informers
from knarr.kit import tasks
from knarr.kit.clock import Clock
from knarr.network import bridge as bridges
from knarr.network.bridge import Bridge

VERSION = "1.0.0"
FILE_NAME = "10-knarr.conflist"
_RESULTS = Path("/var/lib/cni/results")
RESYNC_S = 60.0
"""How often bridge and configuration are looked at, in case somebody else took them away."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the pod network of a node is made from.

    Attributes:
        informers: Of the node's client.
        clock: Times retries.
        node_name: Whose pod range to use.
        conf_folder: Where the container runtime looks for CNI configurations.
        bridge: Name of the bridge.
        dns_address: Put on the bridge, so that the DNS server may listen there.
        service_cidr: Range of Service addresses, routed to the bridge.
    """

    informers: Informers
    clock: Clock
    node_name: str
    conf_folder: Path
    bridge: str
    dns_address: str
    service_cidr: str


class Network:
    """The node's pod network while it is kept up; made by `open_network`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._range = ""
        self._ready = asyncio.Event()
        self._wake = asyncio.Event()
        nodes = config.informers.of(core_v1.Node, field_selector=f"metadata.name={config.node_name}")
        nodes.on_change(self._on_node)

    @property
    def is_ready(self) -> bool:
        """Whether pods can be given addresses."""
        return self._ready.is_set()

    async def wait_ready(self) -> None:
        """Wait until bridge and configuration are there for the node's pod range."""
        await self._ready.wait()

    async def run(self) -> None:
        """Follow the Node object until cancelled.

        Raises:
            CommandFailed: The kernel refuses; call again to retry.
        """
        while True:
            self._wake.clear()
            await self._ensure(self._range)
            await self._wake.wait()

    async def check(self) -> None:
        """Look at everything anew now and then, until cancelled."""
        while True:
            await self._config.clock.sleep(RESYNC_S)
            self._wake.set()

    async def _ensure(self, pod_range: str) -> None:
        config = self._config
        await bridges.ensure(
            Bridge(
                name=config.bridge,
                gateway=gateway_of(pod_range) if pod_range else "",
                dns_address=config.dns_address,
                service_cidr=config.service_cidr,
            )
        )
        if pod_range:
            mtu = await bridges.default_mtu()
            plan = plan_config(config.bridge, pod_range, mtu=mtu, reservations=config.conf_folder / "addresses")
            if write_config(config.conf_folder, plan):
                logger.info("pods of this node have the addresses %s on bridge %s", pod_range, config.bridge)
            self._ready.set()

    def _on_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        pod_range = (new.spec.podCIDR or "") if new and new.spec else ""
        if (
            pod_range and pod_range != self._range
        ):  # a Node deleted by mistake does not take the network from running pods
            self._range = pod_range
            self._wake.set()


def gateway_of(pod_range: str) -> str:
    """Return the gateway of a pod range, its first address, with the prefix length."""
    network = ipaddress.ip_network(pod_range)
    return f"{network[1]}/{network.prefixlen}"


def plan_config(bridge: str, pod_range: str, *, mtu: int, reservations: Path) -> dict[str, Any]:
    """Return the CNI configuration list of a node.

    Masquerading and host ports are left to the service proxy; hairpin mode lets a pod reach itself through a Service.

    Args:
        bridge: Name of the bridge.
        pod_range: Addresses of the node's pods.
        mtu: The MTU of the pods' interfaces; 0 means the kernel's default.
        reservations: Folder in which host-local notes the addresses in use.
    """
    return {
        "cniVersion": VERSION,
        "name": bridge,
        "plugins": [
            {
                "type": "bridge",
                "bridge": bridge,
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                **({"mtu": mtu} if mtu else {}),
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": pod_range}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                    "dataDir": str(reservations),
                },
            },
        ],
    }


def write_config(folder: Path, config: dict[str, Any]) -> bool:
    """Write a CNI configuration into `folder` so that a reader sees the old one or the new one.

    Returns:
        False if it was there already.
    """
    content = msgspec.json.format(msgspec.json.encode(config)) + b"\n"
    path = folder / FILE_NAME
    if path.exists() and path.read_bytes() == content:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{FILE_NAME}.new"  # CNI reads only .conf, .conflist and .json
    with open(fresh, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)
    return True


@asynccontextmanager
async def open_network(config: Config) -> AsyncIterator[Network]:
    """Keep the node's pod network as its Node object says. Bridge and configuration stay when the context ends: pods use them."""
    async with tasks.Supervisor("network", clock=config.clock) as supervisor:
        network = Network(config)
        supervisor.run("bridge", network.run)
        supervisor.run("check", network.check)
        yield network


async def remove(bridge: str) -> None:
    """Remove a node's bridge, what was done for it, and what libcni remembers of its pods."""
    await bridges.remove(bridge)
    for result in _RESULTS.glob(f"{bridge}-*"):
        result.unlink(missing_ok=True)
