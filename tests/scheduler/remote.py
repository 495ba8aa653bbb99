"""An API server over HTTPS with a certificate of its own, and a kubeconfig of the scheduler's."""

import contextlib
import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import yaml
from lightkube.models import core_v1, meta_v1

from knarr.api.user import User
from knarr.apiserver.config import Config, Pair
from knarr.apiserver.server import open_apiserver
from knarr.client import Client, transport
from knarr.kit import pki
from knarr.store.memory import MemoryBackend


@contextlib.asynccontextmanager
async def open_remote(folder: Path) -> AsyncIterator[tuple[Client, Path]]:
    """Serve; give an administrator's client and the kubeconfig of system:kube-scheduler."""
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.Authority.create("ca", now=now)
    (folder / "ca.crt").write_bytes(authority.pair.certificate)
    for stem, subject, usage in (
        ("server", pki.Subject("server", ip_addresses=("127.0.0.1",)), pki.Usage.SERVER),
        ("scheduler", pki.Subject("system:kube-scheduler"), pki.Usage.CLIENT),
    ):
        pki.write_pair(authority.issue(subject, [usage], now=now), folder / f"{stem}.crt", folder / f"{stem}.key")
    config = Config(
        backend=MemoryBackend(),
        port=0,
        serving=Pair(certificate=folder / "server.crt", key=folder / "server.key"),
        client_ca=folder / "ca.crt",
        disabled_admission=("TaintNodesByCondition",),
    )
    async with open_apiserver(config) as server:
        admin = User("admin", ("system:masters", "system:authenticated"))
        client = Client(transport.InProcessTransport(server.handler, admin))
        await client.create(core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name="default", namespace="default")))
        path = folder / "kubeconfig"
        path.write_text(yaml.safe_dump(_kubeconfig(folder, server.port)))
        yield client, path


def _kubeconfig(folder: Path, port: int) -> dict[str, object]:
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(folder / "ca.crt")}
    user = {"client-certificate": str(folder / "scheduler.crt"), "client-key": str(folder / "scheduler.key")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
