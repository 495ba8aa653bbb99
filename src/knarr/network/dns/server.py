"""Answers on UDP and TCP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from knarr.control.informer import Informers
from knarr.kit.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a DNS server works with.

    Attributes:
        informers: Of the node's client; shared with the proxy.
        clock: Ages cached answers.
        address: Where it listens; the address may come into being later.
        port: 53, except in tests.
        domain: The cluster's domain ("cluster.local").
        service_cidr: Range of Service addresses, for reverse names.
        pod_cidr: Range of pod addresses, for reverse names.
        resolv_conf: Names the servers that answer for everything else.
    """

    informers: Informers
    clock: Clock
    address: str
    port: int = 53
    domain: str = "cluster.local"
    service_cidr: str = "10.96.0.0/16"
    pod_cidr: str = "10.244.0.0/16"
    resolv_conf: Path = Path("/etc/resolv.conf")


class Dns:
    """A running DNS server."""

    async def wait_ready(self) -> None:
        """Wait until it answers for everything in the cluster."""
        raise NotImplementedError


@asynccontextmanager
async def open_dns(config: Config) -> AsyncIterator[Dns]:
    """Run cluster DNS on this node."""
    yield Dns()
