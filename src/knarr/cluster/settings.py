"""What a cluster is made of, decided once when it is created and kept in `cluster.json`.

Several clusters share a machine: each has a number, and ports, address ranges and the bridge follow from it, so that no
two clash and none needs flags.
"""

import fcntl
import ipaddress
import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from knarr.cluster import layout as layouts
from knarr.cluster.errors import ClusterError, ClusterNotFound, UsageError
from knarr.cluster.layout import Layout
from knarr.kit import pki

CLUSTERS_LIMIT = 50
"""Most clusters on one machine; service ranges count up from 10.96 and pod ranges down from 10.244."""
API_PORT, NODE_PORT, BALANCER_PORT = 6443, 10250, 7443
"""Of cluster 0 of a machine; others count up."""
DOMAIN = "cluster.local"
SIMULATED_POD_CIDR = "100.64.0.0/10"
"""A /24 for each of 16,384 nodes."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The fixed facts of one cluster.

    Attributes:
        name: The cluster's name.
        number: 0–49, unique on the machine.
        api_port: Where the API server listens.
        node_port: Where the node agent listens.
        service_cidr: Addresses of Services.
        pod_cidr: Addresses of pods, a /24 of it for each node.
        dns_address: The cluster DNS, the tenth service address.
        domain: The cluster's DNS domain.
        bridge: The name of the pod bridge.
        node_name: This machine's node name.
        advertise_address: The address under which pods and other machines reach the API server.
        store: `sqlite`, or `memory` in tests.
        simulated: How many simulated nodes there are in place of this machine; 0: none, this machine is a node.
        server: The URL under which this machine joined as a node; empty on machines with a server.
        names: Further names and addresses in the API server's certificate.
        is_node: Whether this machine is a node, or only has a server.
        is_balanced: Whether there may be several servers, this machine's among them: then a balancer leads to any that lives.
    """

    name: str
    number: int
    api_port: int
    node_port: int
    service_cidr: str
    pod_cidr: str
    dns_address: str
    domain: str
    bridge: str
    node_name: str
    advertise_address: str
    store: str = "sqlite"
    simulated: int = 0
    server: str = ""
    names: tuple[str, ...] = ()
    is_node: bool = True
    is_balanced: bool = False

    @property
    def service_address(self) -> str:
        """The address of the `kubernetes` Service: the first of the range."""
        return str(ipaddress.ip_network(self.service_cidr)[1])

    @property
    def server_url(self) -> str:
        """The API server's address on this machine: the server's own, or that of the balancer before several or those elsewhere."""
        return f"https://127.0.0.1:{self.balancer_port}" if self.has_balancer else self.own_url

    @property
    def own_url(self) -> str:
        """The address of this machine's own server."""
        return f"https://127.0.0.1:{self.api_port}"

    @property
    def has_balancer(self) -> bool:
        """Whether the agent passes connections on."""
        return self.is_joined or (self.is_balanced and self.is_node)

    @property
    def advertised_url(self) -> str:
        """The API server's address for other machines."""
        return self.server or f"https://{self.advertise_address}:{self.api_port}"

    @property
    def balancer_port(self) -> int:
        """Where the agent passes connections on to one of the servers."""
        return BALANCER_PORT + self.number

    @property
    def is_joined(self) -> bool:
        """Whether the server runs elsewhere, and this machine is only a node."""
        return bool(self.server)

    @property
    def facts(self) -> "Facts":
        """What other machines of the cluster must know, too."""
        return Facts(self.pod_cidr, self.service_cidr, self.domain)

    @property
    def processes(self) -> tuple[str, ...]:
        """What runs on this machine, in the order in which it starts."""
        if self.is_joined:
            return ("agent",)
        return ("server", "agent") if self.is_node else ("server",)

    @property
    def cgroup_root(self) -> str:
        """The cgroup below which all pods run."""
        return f"/knarr-{self.name}"


@dataclass(frozen=True, slots=True)
class Facts:
    """What is the same on every machine of a cluster.

    Attributes:
        pod_cidr: Addresses of pods.
        service_cidr: Addresses of Services.
        domain: The DNS domain.
    """

    pod_cidr: str
    service_cidr: str
    domain: str = DOMAIN


def plan(name: str, number: int, *, node_name: str, advertise_address: str, simulated: int = 0) -> Settings:
    """Work out the settings of cluster `number` of this machine.

    Args:
        name: The cluster's name.
        number: 0-49.
        node_name: This machine's node name.
        advertise_address: This machine's address; empty on one without a network, where the bridge's stands in.
        simulated: How many simulated nodes; their pods' addresses are nowhere but in the API, so the range is large.
    """
    service_cidr = f"10.{96 + number}.0.0/16"
    pod_cidr = SIMULATED_POD_CIDR if simulated else f"10.{244 - number}.0.0/16"
    return Settings(
        name=name,
        number=number,
        api_port=API_PORT + number,
        node_port=NODE_PORT + 10 * number,
        service_cidr=service_cidr,
        pod_cidr=pod_cidr,
        dns_address=str(ipaddress.ip_network(service_cidr)[10]),
        domain=DOMAIN,
        bridge=f"knarr{number}",
        node_name=node_name,
        advertise_address=advertise_address or ("127.0.0.1" if simulated else str(ipaddress.ip_network(pod_cidr)[1])),
        simulated=simulated,
    )


def load(layout: Layout) -> Settings:
    """Read a cluster's settings.

    Raises:
        ClusterNotFound: There is no such cluster on this machine.
        ClusterError: The file is damaged.
    """
    try:
        return msgspec.json.decode(layout.settings.read_bytes(), type=Settings)
    except FileNotFoundError:
        raise ClusterNotFound(layout.name) from None
    except msgspec.MsgspecError as err:
        raise ClusterError(f"{layout.settings} is damaged ({err}); restore it or delete the cluster") from err


def load_or_create(layout: Layout, *, simulated: int = 0) -> Settings:
    """Read a cluster's settings, or decide and write them: the lowest number that no cluster has and whose ports are free.

    Args:
        layout: Whose.
        simulated: How many simulated nodes; 0 leaves a cluster that exists as it is.

    Raises:
        UsageError: The cluster exists, and its node is no simulated one.
        ClusterError: The file is damaged, or no port is free.
    """
    with _locked(layouts.home()):
        if layout.settings.exists():
            return _resize(layout, load(layout), simulated)
        number = _free_number({load(Layout.of(name)).number for name in layouts.existing()})
        settings = plan(
            layout.name, number, node_name=node_name(), advertise_address=default_address(), simulated=simulated
        )
        layout.create()
        _write(layout, settings)
        return settings


def create_joined(layout: Layout, facts: Facts, *, server: str, name: str, address: str) -> Settings:
    """Decide and write the settings of a machine that joined a cluster made elsewhere.

    Args:
        layout: What the cluster is called here.
        facts: What the cluster is made of.
        server: The URL that it joined at.
        name: The node's name.
        address: The node's address.

    Raises:
        UsageError: Its addresses are those of another cluster of this machine.
        ClusterError: No port is free.
    """
    with _locked(layouts.home()):
        others = [load(Layout.of(one)) for one in layouts.existing() if one != layout.name]
        check_ranges(facts, others)
        number = _free_number({one.number for one in others})
        planned = plan(layout.name, number, node_name=name, advertise_address=address)
        settings = msgspec.structs.replace(_with_facts(planned, facts), server=server)
        _write(layout, settings)
        return settings


def create_server(
    layout: Layout, facts: Facts, *, port: int, name: str, address: str, names: tuple[str, ...] = ()
) -> Settings:
    """Decide and write the settings of a machine with a further server of a cluster.

    Args:
        layout: What the cluster is called here.
        facts: What the cluster is made of.
        port: Where its servers listen, on all machines the same.
        name: The node's name.
        address: Where others reach this server and node.
        names: Further names and addresses in the server's certificate.

    Raises:
        UsageError: Its addresses are those of another cluster of this machine, or its port is in use.
    """
    with _locked(layouts.home()):
        others = [load(Layout.of(one)) for one in layouts.existing() if one != layout.name]
        check_ranges(facts, others)
        number = port - API_PORT
        if not 0 <= number < CLUSTERS_LIMIT or number in {one.number for one in others} or not _is_free(number):
            raise UsageError(f"the servers of that cluster listen on port {port}, which is in use on this machine")
        planned = plan(layout.name, number, node_name=name, advertise_address=address)
        settings = msgspec.structs.replace(_with_facts(planned, facts), is_balanced=True, names=names)
        _write(layout, settings)
        return settings


def change(layout: Layout, **fields: Any) -> Settings:
    """Write some settings anew, if they differ."""
    with _locked(layouts.home()):
        before = load(layout)
        settings = msgspec.structs.replace(before, **fields)
        if settings != before:
            _write(layout, settings)
        return settings


def _with_facts(planned: Settings, facts: Facts) -> Settings:
    return msgspec.structs.replace(
        planned,
        service_cidr=facts.service_cidr,
        pod_cidr=facts.pod_cidr,
        domain=facts.domain,
        dns_address=str(ipaddress.ip_network(facts.service_cidr)[10]),
    )


def check_ranges(facts: Facts, others: Iterable[Settings]) -> None:
    """Check that a cluster's addresses are those of no other cluster of the machine.

    Raises:
        UsageError: They are.
    """
    for other in others:
        for text in (facts.pod_cidr, facts.service_cidr):
            for taken in (other.pod_cidr, other.service_cidr):
                if ipaddress.ip_network(text).overlaps(ipaddress.ip_network(taken)):
                    raise UsageError(
                        f"the addresses {text} of that cluster are in use by cluster {other.name} of this machine "
                        f"({taken}); remove it first: `knarr down --delete --name {other.name}`"
                    )


def _free_number(taken: Collection[int]) -> int:
    numbers = (n for n in range(CLUSTERS_LIMIT) if n not in taken and _is_free(n))
    number = next(numbers, None)
    if number is None:
        raise ClusterError("no free cluster number: every API or node port is in use; remove a cluster first")
    return number


def _resize(layout: Layout, settings: Settings, simulated: int) -> Settings:
    if simulated in (0, settings.simulated):
        return settings
    if not settings.simulated:
        raise UsageError(
            f"cluster {layout.name} has this machine as its node; choose another --name, or add simulated nodes to it with "
            f"`knarr agent --simulated {simulated} --name {layout.name}`"
        )
    settings = msgspec.structs.replace(settings, simulated=simulated)
    _write(layout, settings)
    return settings


def _write(layout: Layout, settings: Settings) -> None:
    pki.write_file(layout.settings, msgspec.json.format(msgspec.json.encode(settings)) + b"\n")


def node_name() -> str:
    """Return this machine's host name as a node name: lower case."""
    return socket.gethostname().lower() or "localhost"


def default_address(towards: str = "192.0.2.1") -> str:
    """Return the address of the interface that the way to `towards` uses, or "" on a machine without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((towards, 9))  # sends nothing: the kernel only picks the source address
        except OSError:
            return ""
        address: str = probe.getsockname()[0]
    return "" if address.startswith("127.") else address


def is_port_free(port: int) -> bool:
    """Tell whether nobody listens on a TCP port of any local address."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _is_free(number: int) -> bool:
    # Clusters of another KNARR_HOME are seen by what they hold of the machine; a bridge stays while its server restarts.
    ports = (API_PORT + number, NODE_PORT + 10 * number, BALANCER_PORT + number)
    return not Path(f"/sys/class/net/knarr{number}").exists() and all(map(is_port_free, ports))


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o755)
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
