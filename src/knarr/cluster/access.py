"""A client with the administrator's certificate, for the commands that run on the cluster's own machine."""

import contextlib
from collections.abc import AsyncIterator

from knarr.client import Client, transport
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings


@contextlib.asynccontextmanager
async def open_admin(layout: Layout, decided: Settings) -> AsyncIterator[Client]:
    """Talk to the cluster's API server as its administrator."""
    async with transport.open_https(
        decided.server_url,
        ca_file=layout.pki / "ca.crt",
        certificate_file=layout.pki / "admin.crt",
        key_file=layout.pki / "admin.key",
    ) as https:
        yield Client(https)
