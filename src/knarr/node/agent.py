"""The node agent: makes this machine a node and runs the pods that are bound to it.

It knows the API server through its URL and its own certificate alone, as if on another machine, and keeps nothing that
containerd and the API do not know: an agent that starts again finds its pods running and goes on.

Counterpart: cmd/kubelet (v1.37).
"""

import asyncio
import contextlib
import platform
import ssl
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

from lightkube.models import core_v1

from knarr.client import Client, credentials, transport
from knarr.control import events
from knarr.control.informer import Informers
from knarr.kit import clock as clocks
from knarr.kit.http.server import open_server
from knarr.kit.tasks import Supervisor
from knarr.node import cgroups, imagegc, images, machine, objects, status
from knarr.node.heartbeat import Heartbeat
from knarr.node.logs import rotate
from knarr.node.pods.config import NodeFacts
from knarr.node.pods.dns import read_host_dns
from knarr.node.pods.roster import Roster
from knarr.node.pods.tools import Tools
from knarr.node.runtime import containerd
from knarr.node.runtime.cri import CriRuntime
from knarr.node.server.auth import Guard
from knarr.node.server.server import NodeServer, Sources
from knarr.node.stats import Stats
from knarr.node.volumes import localpath

RELOAD_S = 60.0
"""How often the files of the serving certificate are looked at."""
USER_AGENT = (
    f"kubelet/{status.KUBELET_VERSION} (linux/{machine.ARCHITECTURES.get(platform.machine(), 'unknown')}) knarr"
)


@dataclass(frozen=True, slots=True)
class Config:
    """All that an agent is told.

    Attributes:
        server_url: The API server, such as "https://127.0.0.1:6443".
        ca_file: The authority that signed the API server's certificates, both its serving and its client one.
        certificate_file: The node's client certificate: user system:node:NAME, group system:nodes.
        key_file: Its key.
        serving_certificate_file: The certificate of the agent's own HTTPS server.
        serving_key_file: Its key.
        node_name: The node's name.
        node_ip: The node's address; empty finds the one of the default route.
        root: The agent's folder: pods, plugins, seccomp profiles, container logs.
        containerd: The own containerd.
        cluster_dns: Addresses of the cluster's DNS, for pods' resolv.conf.
        domain: The cluster's domain.
        cgroup_root: The group below which all pods run, such as "/knarr-default".
        address: Where the HTTPS server listens; empty means all addresses.
        port: The HTTPS server's port; 0 takes a free one.
        labels: Labels that the node gets beside the usual ones.
        max_pods: Most pods.
    """

    server_url: str
    ca_file: Path
    certificate_file: Path
    key_file: Path
    serving_certificate_file: Path
    serving_key_file: Path
    node_name: str
    node_ip: str
    root: Path
    containerd: containerd.Config
    cluster_dns: tuple[str, ...]
    domain: str = "cluster.local"
    cgroup_root: str = "/"
    address: str = ""
    port: int = 10250
    labels: Mapping[str, str] = field(default_factory=dict)
    max_pods: int = 110


class Agent:
    """A running agent. Use `open_agent`.

    Attributes:
        config: What it was told.
        client: The API, as the node.
        informers: Watches over that client; free for others in this process to use.
        port: Where its HTTPS server listens.
        containerd: The container runtime.
    """

    def __init__(
        self, config: Config, client: Client, informers: Informers, daemon: containerd.Containerd, *, port: int
    ) -> None:
        self.config = config
        self.client = client
        self.informers = informers
        self.containerd = daemon
        self.port = port

    async def wait_pod_cidr(self) -> str:
        """Wait until the node is registered and has its range of pod addresses, and return it: `spec.podCIDR`.

        Whoever composes the processes then writes the CNI configuration; until it is there, pods outside
        the host's network wait.
        """
        name = self.config.node_name
        found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def look(_old: core_v1.Node | None, node: core_v1.Node | None) -> None:
            cidr = node.spec.podCIDR if node is not None and node.spec is not None else None
            if cidr and not found.done():
                found.set_result(cidr)

        self.informers.of(core_v1.Node, field_selector=f"metadata.name={name}").on_change(look)
        return await found


@contextlib.asynccontextmanager
async def open_agent(config: Config, *, clock: clocks.Clock | None = None) -> AsyncIterator[Agent]:
    """Run the agent until the block is left; its pods keep running.

    It keeps trying where the API server cannot be reached yet.

    Args:
        config: What it is told.
        clock: Times heartbeats, probes and backoffs; the system's by default.

    Raises:
        ContainerdFailed: The container runtime did not come up.
    """
    clock = clock or clocks.SystemClock()
    random = Random()
    tls = credentials.TlsFiles(config.ca_file, config.certificate_file, config.key_file, clock=clock)
    client = Client(transport.HttpsTransport(config.server_url, tls=tls), clock=clock, user_agent=USER_AGENT)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(client.aclose)
        daemon = await stack.enter_async_context(containerd.open_containerd(config.containerd, clock))
        runtime = CriRuntime(str(config.containerd.socket))
        stack.push_async_callback(runtime.aclose)
        informers = await stack.enter_async_context(Informers(client, clock, random))
        recorder = events.Recorder(client, "kubelet", clock=clock, host=config.node_name)
        stack.push_async_callback(recorder.aclose)
        supervisor = await stack.enter_async_context(Supervisor("agent", clock=clock, random=random))
        facts, identity = _describe(config)
        facts.cgroups.create_root()
        tools = Tools(
            node=facts,
            runtime=runtime,
            images=images.Puller(runtime, clock),
            client=client,
            objects=objects.Objects(informers),
            services=informers.of(core_v1.Service),
            recorder=recorder,
            clock=clock,
            random=random,
        )
        pods = informers.of(core_v1.Pod, field_selector=f"spec.nodeName={config.node_name}")
        node = informers.of(core_v1.Node, field_selector=f"metadata.name={config.node_name}")
        roster = Roster(tools, pods, node, supervisor)
        guard = Guard(client, config.node_name, clock)
        serving = NodeServer(Sources(roster, runtime, Stats(roster, facts), guard, clock, _settings(config)))
        tls_settings = _serving_tls(config)
        server = await stack.enter_async_context(
            open_server(serving.handle, host=config.address, port=config.port, tls=tls_settings, grace_s=1.0)
        )
        identity = replace(identity, port=server.port)
        heartbeat = Heartbeat(
            client, identity, runtime, clock, storage=config.root, image_storage=config.containerd.root
        )
        node.on_change(heartbeat.observe)
        supervisor.run("pods", roster.run)
        collector = imagegc.Collector(
            runtime,
            clock,
            lambda: 1 - machine.free_share(config.containerd.root),
            frozenset({config.containerd.sandbox_image}),
        )
        supervisor.run("image garbage collection", collector.run)
        folders = localpath.Folders(client, informers.of(core_v1.PersistentVolume), config.node_name)
        supervisor.run("folders of deleted volumes", folders.run)
        supervisor.run("serving certificate", lambda: _reload_certificate(tls_settings, config, clock))
        supervisor.run("log rotation", lambda: _rotate_logs(roster, runtime, clock))
        supervisor.run("node status", heartbeat.report)
        supervisor.run("node lease", heartbeat.renew)
        yield Agent(config, client, informers, daemon, port=server.port)


def _settings(config: Config) -> dict[str, object]:
    """Return the KubeletConfiguration that would make a kubelet behave as this agent does."""
    return {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "port": config.port,
        "address": config.address or "0.0.0.0",
        "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": True}},
        "authorization": {"mode": "Webhook"},
        "clusterDomain": config.domain,
        "clusterDNS": [*config.cluster_dns],
        "cgroupRoot": config.cgroup_root,
        "cgroupDriver": "systemd" if config.containerd.systemd_cgroup else "cgroupfs",
        "maxPods": config.max_pods,
        "containerLogMaxSize": f"{rotate.MAX_SIZE_BYTES >> 20}Mi",
        "containerLogMaxFiles": rotate.MAX_FILES,
        "imageGCHighThresholdPercent": round(imagegc.HIGH_USE * 100),
        "imageGCLowThresholdPercent": round(imagegc.LOW_USE * 100),
        "maxParallelImagePulls": images.PARALLEL_PULLS,
    }


async def _rotate_logs(roster: Roster, runtime: CriRuntime, clock: clocks.Clock) -> None:
    while True:
        await clock.sleep(rotate.LOOK_S)
        for worker in roster.workers:
            await rotate.rotate_all(worker.observed.containers, runtime, clock)


async def _reload_certificate(context: ssl.SSLContext, config: Config, clock: clocks.Clock) -> None:
    """Serve new connections with the certificate that is in the files by now."""
    files = (config.serving_certificate_file, config.serving_key_file)
    seen = [file.stat().st_mtime_ns for file in files]
    while True:
        await clock.sleep(RELOAD_S)
        found = [file.stat().st_mtime_ns for file in files]
        if found != seen:
            context.load_cert_chain(*files)
            seen = found


def _serving_tls(config: Config) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=config.ca_file)
    context.load_cert_chain(config.serving_certificate_file, config.serving_key_file)
    context.verify_mode = ssl.CERT_OPTIONAL  # who shows none may still have a token
    return context


def _describe(config: Config) -> tuple[NodeFacts, status.Identity]:
    for name in ("pods", "logs", "seccomp"):
        (config.root / name).mkdir(parents=True, exist_ok=True, mode=0o750)
    found = machine.read_machine(config.root)
    ips = (config.node_ip or machine.default_ip(),)
    total = machine.capacity(found, max_pods=config.max_pods)
    facts = NodeFacts(
        name=config.node_name,
        ips=ips,
        root=config.root,
        logs=config.root / "logs",
        cgroups=cgroups.Cgroups(config.cgroup_root, config.containerd.systemd_cgroup, cgroups.is_unified()),
        domain=config.domain,
        dns_servers=config.cluster_dns,
        host_dns=read_host_dns(),
        memory_bytes=found.memory_bytes,
        allocatable=machine.allocatable(total),
    )
    identity = status.Identity(config.node_name, ips, config.port, found, config.max_pods, config.labels)
    return facts, identity
