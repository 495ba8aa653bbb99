"""Roads to the pods of the other nodes.

A node on the same link is the gateway to its own pods: a plain route, nothing is wrapped (what flannel calls host-gw). To a node
behind a router packets go in VXLAN, whose far end is that node's address; its link address follows from it, so that nothing has to
be learned or announced, and the network identifier from the range of the cluster's pods, so that clusters on one machine stay apart.
Routes carry a protocol number of their own: by it, and by the range, those of before are found again.

Upstream counterpart: flannel's backends host-gw and vxlan, kubenet with the routes of a cloud provider.
"""

import asyncio
import ipaddress
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from lightkube.models import core_v1

from knarr.control.informer import Informers
from knarr.kit import tasks
from knarr.kit.clock import Clock
from knarr.network import commands
from knarr.network.errors import CommandFailed

PROTOCOL = "75"
"""Marks routes as made here (`ip route show proto 75`); the kernel leaves numbers above 4 to programs."""
VXLAN_PORT = 8472
VXLAN_OVERHEAD_BYTES = 50
SIMULATED = "simulated.knarr.dev/group"
"""Nodes with this label have no network."""
PAUSE_S = 0.2
"""Nodes come in crowds: changes within this time are made together."""
RESYNC_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What the routes of a node are made from.

    Attributes:
        informers: Of the node's client.
        clock: Times retries.
        node_name: This node's name.
        address: This node's address.
        bridge: Name of its pod bridge; the VXLAN interface is named after it.
        pod_cidr: Addresses of all pods of the cluster.
    """

    informers: Informers
    clock: Clock
    node_name: str
    address: str
    bridge: str
    pod_cidr: str


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """Another node.

    Attributes:
        pod_range: Addresses of its pods.
        address: Its own.
    """

    pod_range: str
    address: str

    @property
    def tunnel_address(self) -> str:
        """The address of its VXLAN interface: the first of its range, which no pod gets."""
        return str(ipaddress.ip_network(self.pod_range)[0])


class Routes:
    """The routes while they are kept up; made by `open_routes`."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._nodes = config.informers.of(core_v1.Node)
        self._wake = asyncio.Event()
        self._wake.set()
        self._nodes.on_change(self._on_node)

    async def run(self) -> None:
        """Follow the Node objects until cancelled.

        Raises:
            CommandFailed: The kernel refuses; call again to retry.
        """
        await self._nodes.wait_synced()
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._ensure()
            except CommandFailed:
                self._wake.set()
                raise
            await self._config.clock.sleep(PAUSE_S)

    async def check(self) -> None:
        """Look at everything anew now and then, until cancelled."""
        while True:
            await self._config.clock.sleep(RESYNC_S)
            self._wake.set()

    async def _ensure(self) -> None:
        config = self._config
        own, peers = find_peers(self._nodes.list(), config.node_name)
        present = await _present_routes(config.pod_cidr)
        if not peers and not present:
            return
        name, ways = tunnel_name(config.bridge), await _ways(peer.address for peer in peers)
        if peers and own:
            await _ensure_tunnel(name, config, own)
        changes = plan(peers, ways, present, tunnel=name if own else "")
        if changes:
            await commands.run(["ip", "-force", "-batch", "-"], "\n".join(changes) + "\n")
            logger.info("roads to the pods of %d other nodes, %d changes", len(peers), len(changes))
        beyond = [peer for peer in peers if own and _is_beyond(ways.get(peer.address, ""))]
        await _ensure_neighbours(name, beyond)

    def _on_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> None:
        if old is None or new is None or to_peer(old) != to_peer(new):
            self._wake.set()


def to_peer(node: core_v1.Node) -> Peer | None:
    """Return how a node's pods are reached; None if it has no pods' addresses, no address, or is a simulated one."""
    pod_range = (node.spec.podCIDR or "") if node.spec else ""
    labels = (node.metadata.labels or {}) if node.metadata else {}
    addresses = (node.status.addresses or ()) if node.status else ()
    address = next((one.address for one in addresses if one.type == "InternalIP" and ":" not in one.address), "")
    return Peer(pod_range, address) if pod_range and address and SIMULATED not in labels else None


def find_peers(nodes: Iterable[core_v1.Node], name: str) -> tuple[str, list[Peer]]:
    """Return the pod range of the node `name`, empty if it has none yet, and all other nodes."""
    own, peers = "", []
    for node in nodes:
        if node.metadata and node.metadata.name == name:
            own = (node.spec.podCIDR or "") if node.spec else ""
        elif (peer := to_peer(node)) is not None:
            peers.append(peer)
    return own, sorted(peers)


def plan(peers: Sequence[Peer], ways: Mapping[str, str], present: Mapping[str, str], *, tunnel: str) -> list[str]:
    """Return the lines for `ip -batch` that make the routes as they shall be.

    Args:
        peers: The other nodes.
        ways: What the kernel says of the way to each address; addresses that it knows no way to are left out.
        present: Range to the rest of the route, for the routes that are there.
        tunnel: The VXLAN interface; empty if there is none: then nodes behind a router wait.
    """
    wanted = {}
    for peer in peers:
        way = ways.get(peer.address, "")
        if not way or way.startswith("local"):
            continue  # no way as yet, or another agent of this very machine
        if not _is_beyond(way):
            wanted[peer.pod_range] = f"via {peer.address} dev {_device(way)}"
        elif tunnel:
            wanted[peer.pod_range] = f"via {peer.tunnel_address} dev {tunnel}"
    stale = [f"route del {pod_range} proto {PROTOCOL}" for pod_range in present if pod_range not in wanted]
    fresh = [
        f"route replace {pod_range} {rest}{' onlink' if tunnel and rest.endswith(f'dev {tunnel}') else ''} proto {PROTOCOL}"
        for pod_range, rest in wanted.items()
        if present.get(pod_range) != rest
    ]
    return stale + fresh


def tunnel_name(bridge: str) -> str:
    """Return the name of the VXLAN interface beside a bridge."""
    return f"{bridge}x"


def link_address(address: str) -> str:
    """Return the link address of the VXLAN interface of the node at an IPv4 address."""
    return ":".join(["02", "4b", *(f"{byte:02x}" for byte in ipaddress.IPv4Address(address).packed)])


def network_id(pod_cidr: str) -> int:
    """Return the VXLAN network identifier of a cluster, 24 bits: how the range of its pods begins."""
    return int(ipaddress.IPv4Network(pod_cidr).network_address) >> 8


@asynccontextmanager
async def open_routes(config: Config) -> AsyncIterator[Routes]:
    """Keep the roads to other nodes' pods as the Node objects say. They stay when the context ends: pods use them."""
    async with tasks.Supervisor("routes", clock=config.clock) as supervisor:
        routes = Routes(config)
        supervisor.run("routes", routes.run)
        supervisor.run("check", routes.check)
        yield routes


async def remove(bridge: str, pod_cidr: str) -> None:
    """Remove a node's VXLAN interface and its roads to other nodes' pods."""
    with suppress(CommandFailed):  # there is none
        await commands.run(["ip", "link", "del", tunnel_name(bridge)])
    lines = [f"route del {pod_range} proto {PROTOCOL}" for pod_range in await _present_routes(pod_cidr)]
    if lines:
        await commands.run(["ip", "-force", "-batch", "-"], "\n".join(lines) + "\n")


async def _present_routes(pod_cidr: str) -> dict[str, str]:
    output = await commands.run(["ip", "-o", "-4", "route", "show", "root", pod_cidr, "proto", PROTOCOL])
    return parse_routes(output)


def parse_routes(output: str) -> dict[str, str]:
    """Parse what `ip route show` prints: range to "via ADDRESS dev NAME"."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        if len(words) >= 5 and words[1] == "via" and words[3] == "dev":
            found[words[0] if "/" in words[0] else f"{words[0]}/32"] = " ".join(words[1:5])
    return found


async def _ways(addresses: Iterable[str]) -> dict[str, str]:
    lines = [f"route get {address}" for address in dict.fromkeys(addresses)]
    if not lines:
        return {}
    try:
        output = await commands.run(["ip", "-o", "-4", "-force", "-batch", "-"], "\n".join(lines) + "\n")
    except CommandFailed as err:
        # No way to one of them fails the whole batch, and nothing is printed of the others: ask one by one.
        logger.debug("%s", err)
        output = "".join([await _way(line) for line in lines])
    return parse_ways(output)


async def _way(line: str) -> str:
    try:
        return await commands.run(["ip", "-o", "-4", *line.split()])
    except CommandFailed:
        return ""


def parse_ways(output: str) -> dict[str, str]:
    """Parse what `ip route get` prints: address to the whole line; that of an own address begins with "local"."""
    found = {}
    for line in output.splitlines():
        words = line.split()
        if words:
            found[words[1] if words[0] == "local" else words[0]] = line.strip()
    return found


def _is_beyond(way: str) -> bool:
    return " via " in way


def _device(way: str) -> str:
    words = way.split()
    return words[words.index("dev") + 1]


async def _ensure_tunnel(name: str, config: Config, own: str) -> None:
    own_address = f"{ipaddress.ip_network(own)[0]}/32"
    try:
        shown = await commands.run(["ip", "-o", "-4", "address", "show", "dev", name])
    except CommandFailed:
        shown = ""
        kind = f"type vxlan id {network_id(config.pod_cidr)} dstport {VXLAN_PORT} local {config.address} nolearning"
        link = ["ip", "link", "add", name, "address", link_address(config.address)]
        await commands.run([*link, *kind.split()])
    if f" {own_address} " not in shown:
        await commands.run(["ip", "address", "flush", "dev", name])
        await commands.run(["ip", "address", "add", own_address, "dev", name])
    await commands.run(["ip", "link", "set", name, "up"])


async def _ensure_neighbours(name: str, peers: Sequence[Peer]) -> None:
    """Say where the far ends are; what is said of nodes that are gone does no harm, for nothing is routed there."""
    if not peers:
        return
    shown = await commands.run(["ip", "-4", "neigh", "show", "dev", name, "nud", "permanent"])
    known = {(words[0], words[2]) for words in map(str.split, shown.splitlines()) if len(words) > 2}
    missing = [peer for peer in peers if (peer.tunnel_address, link_address(peer.address)) not in known]
    if not missing:
        return
    ends = [f"fdb replace {link_address(one.address)} dev {name} dst {one.address} self permanent" for one in missing]
    await commands.run(["bridge", "-force", "-batch", "-"], "\n".join(ends) + "\n")
    lines = [
        f"neigh replace {one.tunnel_address} lladdr {link_address(one.address)} dev {name} nud permanent"
        for one in missing
    ]
    await commands.run(["ip", "-force", "-batch", "-"], "\n".join(lines) + "\n")
