"""Keeps the kernel's rules as Services and EndpointSlices say."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from knarr.control.informer import Informers
from knarr.kit.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a service proxy works with.

    Attributes:
        informers: Of the node's client; shared with cluster DNS.
        clock: Times synchronization.
        node_name: This node: its endpoints are "local".
        table: Name of the nftables table ("knarr-NAME").
        bridge: Name of the pod bridge.
        pod_cidr: Addresses of all pods of the cluster.
        service_cidr: Addresses of Services.
        dns_address: The cluster DNS, which listens on the bridge and is left alone.
        min_sync_s: Shortest time between two transactions.
    """

    informers: Informers
    clock: Clock
    node_name: str
    table: str
    bridge: str
    pod_cidr: str
    service_cidr: str
    dns_address: str
    min_sync_s: float = 0.03


class Proxy:
    """A running service proxy."""

    async def wait_synced(self) -> None:
        """Wait until the rules hold everything that was known at the start."""
        raise NotImplementedError


@asynccontextmanager
async def open_proxy(config: Config) -> AsyncIterator[Proxy]:
    """Run the service proxy. The rules stay when the context ends: connections go on without it."""
    yield Proxy()
