"""One node before a real API server in the same process, without controllers and scheduler: pods name the node themselves."""

import asyncio
import base64
import contextlib
import datetime
import ssl
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from lightkube.models import core_v1, meta_v1

from knarr.api import errors, user
from knarr.apiserver import config as apiserver_config
from knarr.apiserver import server as apiserver
from knarr.client import Client, DeleteOptions, transport
from knarr.kit import pki
from knarr.kit.http.client import Client as HttpClient
from knarr.node import agent as agents
from knarr.store.memory import MemoryBackend

NODE = "n1"
TIMEOUT_S = 30.0


@dataclass
class Cluster:
    """What a test talks to."""

    client: Client
    config: agents.Config
    pki: Path
    image: str
    agent: agents.Agent | None = None

    async def create(self, kind: type[Any], value: dict[str, Any]) -> Any:
        return await self.client.create(msgspec.convert(value, kind), namespace="default")

    async def pod(self, name: str, *containers: dict[str, Any], **spec: Any) -> core_v1.Pod:
        """Create a pod on the node; containers are `container(...)`."""
        spec = {"terminationGracePeriodSeconds": 1, "nodeName": NODE, "automountServiceAccountToken": False, **spec}
        found: core_v1.Pod = await self.create(
            core_v1.Pod, {"metadata": {"name": name}, "spec": {"containers": list(containers), **spec}}
        )
        return found

    def container(self, command: str, name: str = "c", **rest: Any) -> dict[str, Any]:
        return {"name": name, "image": self.image, "command": ["sh", "-c", command], **rest}

    async def get(self, name: str) -> core_v1.Pod:
        return await self.client.get(core_v1.Pod, name, namespace="default")

    async def wait(self, name: str, condition: Callable[[Any], bool], *, timeout_s: float = TIMEOUT_S) -> Any:
        """Wait until a pod's status meets a condition; return the status."""
        deadline = time.monotonic() + timeout_s
        while True:
            status = (await self.get(name)).status
            if condition(status):
                return status
            assert time.monotonic() < deadline, f"{name}: {status}"
            await asyncio.sleep(0.02)

    async def wait_ready(self, name: str) -> Any:
        return await self.wait(name, is_ready)

    async def delete(self, name: str, **options: Any) -> None:
        await self.client.delete(core_v1.Pod, name, namespace="default", options=DeleteOptions(**options))

    async def wait_gone(self, name: str, *, timeout_s: float = TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                await self.get(name)
            except errors.NotFound:
                return
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)

    def log(self, name: str, container: str = "c", attempt: int = 0) -> str:
        """Return what a container printed."""
        (path,) = self.config.root.glob(f"logs/default_{name}_*/{container}/{attempt}.log")
        return "".join(line.split(" ", 3)[3] + "\n" for line in path.read_text().splitlines())

    async def events(self, name: str) -> list[tuple[str, str]]:
        page = await self.client.list(core_v1.Event, namespace="default")
        return [(e.reason or "", e.message or "") for e in page.items if e.involvedObject.name == name]

    def node_client(self) -> HttpClient:
        """Return a client of the node's own server, with the API server's certificate."""
        assert self.agent is not None
        tls = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
        tls.load_cert_chain(self.pki / "kubelet-client.crt", self.pki / "kubelet-client.key")
        return HttpClient(f"https://127.0.0.1:{self.agent.port}", tls=tls)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the agent."""
        async with agents.open_agent(self.config) as opened:
            self.agent = opened
            yield
        self.agent = None


def is_ready(status: Any) -> bool:
    return any(c.type == "Ready" and c.status == "True" for c in status.conditions or [])


@contextlib.asynccontextmanager
async def open_cluster(machine: Any, folder: Path) -> AsyncIterator[Cluster]:
    """Open an API server; its node's agent is opened with `Cluster.running`."""
    _issue(folder)
    server_config = apiserver_config.Config(
        backend=MemoryBackend(),
        port=0,
        serving=apiserver_config.Pair(certificate=folder / "server.crt", key=folder / "server.key"),
        client_ca=folder / "ca.crt",
    )
    async with apiserver.open_apiserver(server_config) as server:
        admin = user.User("admin", (user.MASTERS, user.ALL_AUTHENTICATED))
        client = Client(transport.InProcessTransport(server.handler, admin))
        config = agents.Config(
            server_url=f"https://127.0.0.1:{server.port}",
            ca_file=folder / "ca.crt",
            certificate_file=folder / "node.crt",
            key_file=folder / "node.key",
            serving_certificate_file=folder / "node.crt",
            serving_key_file=folder / "node.key",
            node_name=NODE,
            node_ip="127.0.0.1",
            root=folder / "agent",
            containerd=machine.config,
            cluster_dns=("10.96.0.10",),
            cgroup_root=machine.cgroup_root,
            address="127.0.0.1",
            port=0,
        )
        with contextlib.suppress(errors.AlreadyExists):
            await client.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="default")))
        account = core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name="default", namespace="default"))
        await client.create(account)
        yield Cluster(client, config, folder, machine.busybox)


def secret(**values: bytes) -> dict[str, str]:
    return {name: base64.b64encode(value).decode() for name, value in values.items()}


def _issue(folder: Path) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = pki.Authority.create("live-test", now=now)
    pki.write_file(folder / "ca.crt", authority.pair.certificate)
    subjects = {
        "server": pki.Subject("kube-apiserver", ip_addresses=("127.0.0.1",)),
        "node": pki.Subject(f"system:node:{NODE}", ("system:nodes",), (NODE,), ("127.0.0.1",)),
        "kubelet-client": pki.Subject("kube-apiserver-kubelet-client", (user.MASTERS,)),
    }
    for name, subject in subjects.items():
        pair = authority.issue(subject, [pki.Usage.CLIENT, pki.Usage.SERVER], now=now)
        pki.write_pair(pair, folder / f"{name}.crt", folder / f"{name}.key")
