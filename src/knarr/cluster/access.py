"""Clients for the commands that run on a cluster's machine: the administrator's where the server is, the node's elsewhere."""

import contextlib
from collections.abc import AsyncIterator

from knarr.client import Client, transport
from knarr.cluster.errors import ClusterError
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings


def require_server(layout: Layout, decided: Settings) -> None:
    """Check that this machine has the cluster's administrator's credentials.

    Raises:
        ClusterError: It only joined the cluster.
    """
    if decided.is_joined:
        raise ClusterError(
            f"the administrator's credentials of cluster {layout.name} are on its servers ({decided.server}): run this there"
        )


@contextlib.asynccontextmanager
async def open_admin(layout: Layout, decided: Settings) -> AsyncIterator[Client]:
    """Talk to the cluster's API server as its administrator.

    Raises:
        ClusterError: This machine only joined the cluster.
    """
    require_server(layout, decided)
    async with transport.open_https(
        decided.own_url,
        ca_file=layout.pki / "ca.crt",
        certificate_file=layout.pki / "admin.crt",
        key_file=layout.pki / "admin.key",
    ) as https:
        yield Client(https)


@contextlib.asynccontextmanager
async def open_node(layout: Layout, decided: Settings) -> AsyncIterator[Client]:
    """Talk to the cluster's API server as this machine's node."""
    async with transport.open_https(
        decided.server_url,
        ca_file=layout.agent / "ca.crt",
        certificate_file=layout.agent / "client.crt",
        key_file=layout.agent / "client.key",
    ) as https:
        yield Client(https)
