"""The pod network of this node: the bridge, the CNI configuration that the container runtime reads, and the kernel's switches.

The bridge stands before the first pod does: it carries the cluster DNS address from the start and the node's gateway address as soon
as the Node object has a pod range. When that range changes, bridge and configuration follow.

Upstream counterpart: the kubenet plugin of old; today a CNI add-on such as kindnet.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from knarr.control.informer import Informers
from knarr.kit.clock import Clock


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
    """The node's pod network while it is kept up."""

    async def wait_ready(self) -> None:
        """Wait until bridge and configuration are there for the node's pod range."""
        raise NotImplementedError


@asynccontextmanager
async def open_network(config: Config) -> AsyncIterator[Network]:
    """Keep the node's pod network as its Node object says. Bridge and configuration stay when the context ends: pods use them."""
    yield Network()
