"""The agent process: node agent, pod network, service proxy and cluster DNS put together, and what they leave taken away.

The four know only the API and each other not at all; here they get one client, one set of informers and one own containerd.
"""

import asyncio
import contextlib
import datetime
import logging
from pathlib import Path

from knarr.client import Client, transport
from knarr.cluster import images, join, member, servers
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings
from knarr.control import informer
from knarr.kit import clock as clocks
from knarr.kit.balancer import Balancer
from knarr.kit.tasks import Supervisor
from knarr.network import cni, dns, proxy, routes
from knarr.node import agent
from knarr.node.runtime import containerd
from knarr.node.runtime.cri import CriRuntime

RENEWAL_S = 3600.0
"""Certificates are looked at this often; they are renewed long before they end."""

logger = logging.getLogger(__name__)


async def serve(layout: Layout, decided: Settings, stopping: asyncio.Event) -> None:
    """Run everything that makes this machine a node until told to stop; pods and their network stay."""
    clock = clocks.SystemClock()
    runtime = containerd_config(layout)
    await _ensure_pause_image(layout, runtime, clock)
    async with contextlib.AsyncExitStack() as stack:
        balancer = await _open_balancer(layout, decided, clock, stack)
        https = await stack.enter_async_context(
            transport.open_https(
                decided.server_url,
                ca_file=layout.agent / "ca.crt",
                certificate_file=layout.agent / "client.crt",
                key_file=layout.agent / "client.key",
            )
        )
        client = Client(https, clock=clock)
        informers = await stack.enter_async_context(informer.Informers(client, clock))
        if balancer is not None:
            servers.follow(informers, balancer, layout.agent, last=decided.server, first=_own_server(decided))
        await stack.enter_async_context(routes.open_routes(_routes_config(decided, informers, clock)))
        await stack.enter_async_context(cni.open_network(_network_config(layout, decided, informers, clock)))
        await stack.enter_async_context(proxy.open_proxy(_proxy_config(decided, informers, clock)))
        await stack.enter_async_context(dns.open_dns(_dns_config(decided, informers, clock)))
        await stack.enter_async_context(agent.open_agent(_agent_config(layout, decided, runtime), clock=clock))
        if decided.is_joined:
            tasks = await stack.enter_async_context(Supervisor("node", clock=clock))
            tasks.run("certificates", lambda: _renew_certificates(layout, decided, client, clock))
        logger.info("node %s serves on port %d", decided.node_name, decided.node_port)
        await stopping.wait()


def containerd_config(layout: Layout) -> containerd.Config:
    """Return where the cluster's own containerd lives on this machine."""
    return containerd.detect_config(
        layout.containerd,
        layout.run / "containerd",
        layout.logs / "containerd.log",
        cni_conf=layout.agent / "cni",
        sandbox_image=images.PAUSE_REFERENCE,
    )


async def remove_pods(layout: Layout) -> None:
    """Remove every pod of this machine and end its containerd; nothing happens if there never was one."""
    config = containerd_config(layout)
    if config.file.exists():
        await containerd.remove_everything(config, clocks.SystemClock())


async def remove_network(decided: Settings) -> None:
    """Remove the bridge and the service rules."""
    await proxy.remove(_table(decided))
    await routes.remove(decided.bridge, decided.pod_cidr)
    await cni.remove(decided.bridge)


async def _open_balancer(
    layout: Layout, decided: Settings, clock: clocks.Clock, stack: contextlib.AsyncExitStack
) -> Balancer | None:
    if not decided.has_balancer:
        return None
    opened = servers.open_balancer(
        layout.agent, clock, port=decided.balancer_port, last=decided.server, first=_own_server(decided)
    )
    return await stack.enter_async_context(opened)


def _own_server(decided: Settings) -> str:
    return "" if decided.is_joined else decided.own_url


async def _renew_certificates(layout: Layout, decided: Settings, client: Client, clock: clocks.Clock) -> None:
    """Get new certificates long before the old ones end; transport and agent load them by themselves."""
    while True:
        now = datetime.datetime.now(datetime.UTC)
        if await join.renew(client, member.to_node(decided), layout.agent, now=now, clock=clock):
            logger.info("the certificates of node %s are new", decided.node_name)
        await clock.sleep(RENEWAL_S)


async def _ensure_pause_image(layout: Layout, config: containerd.Config, clock: clocks.Clock) -> None:
    # Started here, adopted by the agent a moment later: the first sandbox needs the image.
    await containerd.Containerd(config, clock).start()
    runtime = CriRuntime(str(config.socket))
    try:
        if await runtime.image_status(images.PAUSE_REFERENCE) is None:
            archive = layout.agent / "pause.tar"
            images.write_pause_archive(archive)
            await images.load_archive(config.socket, archive)
            archive.unlink()
    finally:
        await runtime.aclose()


def _network_config(
    layout: Layout, decided: Settings, informers: informer.Informers, clock: clocks.Clock
) -> cni.Config:
    return cni.Config(
        informers=informers,
        clock=clock,
        node_name=decided.node_name,
        conf_folder=layout.agent / "cni",
        bridge=decided.bridge,
        dns_address=decided.dns_address,
        service_cidr=decided.service_cidr,
    )


def _routes_config(decided: Settings, informers: informer.Informers, clock: clocks.Clock) -> routes.Config:
    return routes.Config(
        informers=informers,
        clock=clock,
        node_name=decided.node_name,
        address=decided.advertise_address,
        bridge=decided.bridge,
        pod_cidr=decided.pod_cidr,
    )


def _proxy_config(decided: Settings, informers: informer.Informers, clock: clocks.Clock) -> proxy.Config:
    return proxy.Config(
        informers=informers,
        clock=clock,
        node_name=decided.node_name,
        table=_table(decided),
        bridge=decided.bridge,
        pod_cidr=decided.pod_cidr,
        service_cidr=decided.service_cidr,
        dns_address=decided.dns_address,
    )


def _dns_config(decided: Settings, informers: informer.Informers, clock: clocks.Clock) -> dns.Config:
    return dns.Config(
        informers=informers,
        clock=clock,
        address=decided.dns_address,
        domain=decided.domain,
        service_cidr=decided.service_cidr,
        pod_cidr=decided.pod_cidr,
        resolv_conf=Path("/etc/resolv.conf"),
    )


def _agent_config(layout: Layout, decided: Settings, runtime: containerd.Config) -> agent.Config:
    return agent.Config(
        server_url=decided.server_url,
        ca_file=layout.agent / "ca.crt",
        certificate_file=layout.agent / "client.crt",
        key_file=layout.agent / "client.key",
        serving_certificate_file=layout.agent / "serving.crt",
        serving_key_file=layout.agent / "serving.key",
        node_name=decided.node_name,
        node_ip=decided.advertise_address,
        root=layout.agent,
        containerd=runtime,
        cluster_dns=(decided.dns_address,),
        domain=decided.domain,
        cgroup_root=decided.cgroup_root,
        port=decided.node_port,
    )


def _table(decided: Settings) -> str:
    return f"knarr-{decided.name}"
