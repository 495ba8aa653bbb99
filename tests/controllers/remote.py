"""An API server over HTTPS with a certificate of its own, and an administrator's kubeconfig."""

import base64
import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import yaml

from knarr.api.user import User
from knarr.apiserver.config import Config, Pair
from knarr.apiserver.server import open_apiserver
from knarr.client import Client, transport
from knarr.kit import pki
from knarr.store.memory import MemoryBackend


@contextlib.asynccontextmanager
async def open_remote(folder: Path) -> AsyncIterator[tuple[Client, Path]]:
    """Serve; give an administrator's client in this process and the kubeconfig of one."""
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.Authority.create("ca", now=now)
    (folder / "ca.crt").write_bytes(authority.pair.certificate)
    subjects = (
        ("server", pki.Subject("server", ip_addresses=("127.0.0.1",)), pki.Usage.SERVER),
        ("admin", pki.Subject("admin", organizations=("system:masters",)), pki.Usage.CLIENT),
    )
    for stem, subject, usage in subjects:
        pki.write_pair(authority.issue(subject, [usage], now=now), folder / f"{stem}.crt", folder / f"{stem}.key")
    config = Config(
        backend=MemoryBackend(),
        port=0,
        serving=Pair(certificate=folder / "server.crt", key=folder / "server.key"),
        client_ca=folder / "ca.crt",
    )
    async with open_apiserver(config) as server:
        user = User("admin", ("system:masters", "system:authenticated"))
        path = folder / "kubeconfig"
        data = base64.b64encode(authority.pair.certificate).decode()
        cluster = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority-data": data}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {"client-certificate": "admin.crt", "client-key": "admin.key"}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )
        yield Client(transport.InProcessTransport(server.handler, user)), path
