"""Makes this machine a member of a cluster that was made on another one.

Nothing is left behind when it does not come about; once it has, the machine has what `knarr agent` needs for good, and the token is of
no use to it any more.
"""

import shutil
import socket

from knarr.client import errors as client_errors
from knarr.cluster import certs, join, servers, settings
from knarr.cluster.errors import ClusterError, UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings


async def ensure(
    layout: Layout, *, server: str, token: str = "", ca_hash: str = "", node_name: str = "", node_ip: str = ""
) -> Settings:
    """Join a cluster, unless this machine has; then only note the server's address.

    Args:
        layout: What the cluster is called here.
        server: "https://host:port".
        token: A bootstrap token; needed only to join.
        ca_hash: "sha256:…" of the authority's key; empty trusts the token alone.
        node_name: What the node is called; empty takes the host name.
        node_ip: The node's address; empty takes that of the interface on the way to the server.

    Raises:
        UsageError: This machine is a member of something else under that name, or there is no token.
        ClusterError: It was refused, or is not the cluster that the token is of.
        WaitTimeout: Its certificates were not approved and signed in time.
    """
    target = servers.parse(server)
    if layout.settings.exists():
        return _again(layout, server)
    if not token:
        raise UsageError("to join, give a token: `knarr token create --print-join-command` on a server prints all")
    address = node_ip or _address_towards(target.host)
    name = node_name.lower() or settings.node_name()
    was_there = layout.data.exists()
    layout.create()
    try:
        await join.join(server, token, join.Node(name, (address,)), layout.agent, ca_hash=ca_hash)
        async with join.open_node(server, layout.agent) as as_node:
            facts = await join.read_facts(as_node)
        return settings.create_joined(layout, facts, server=server, name=name, address=address)
    except client_errors.Unreachable as err:
        _forget(layout, was_there=was_there)
        raise ClusterError(f"{server} cannot be reached: {err}") from err
    except BaseException:
        _forget(layout, was_there=was_there)
        raise


async def ensure_server(
    layout: Layout,
    *,
    server: str,
    token: str,
    certificate_key: str,
    ca_hash: str = "",
    node_name: str = "",
    node_ip: str = "",
    names: tuple[str, ...] = (),
) -> Settings:
    """Make this machine one with a further server of a cluster, unless it is.

    Args:
        layout: What the cluster is called here.
        server: "https://host:port" of a server that there is.
        token: A bootstrap token.
        certificate_key: What the certificates for other servers are encrypted with.
        ca_hash: "sha256:…" of the authority's key; empty trusts the token alone.
        node_name: What the node is called; empty takes the host name.
        node_ip: Where others reach this server and node; empty takes the interface on the way to the other server.
        names: Further names and addresses in the server's certificate.

    Raises:
        UsageError: This machine is a member of something else under that name, or the key is none.
        ClusterError: It was refused, or is not the cluster that the token is of.
    """
    target = servers.parse(server)
    if layout.settings.exists():
        decided = settings.load(layout)
        if decided.is_joined or not decided.is_balanced:
            raise UsageError(
                f"cluster {layout.name} of this machine is no server of that cluster: choose another --name"
            )
        return decided
    address = node_ip or _address_towards(target.host)
    was_there = layout.data.exists()
    layout.create()
    try:
        authority = await join.discover(server, token, ca_hash=ca_hash)
        async with join.open_with_token(server, token, authority) as client:
            facts = await join.read_facts(client)
            files = await certs.download(client, certificate_key)
        certs.write(layout, files)
        return settings.create_server(
            layout,
            facts,
            port=target.port,
            name=node_name.lower() or settings.node_name(),
            address=address,
            names=names,
        )
    except client_errors.Unreachable as err:
        _forget(layout, was_there=was_there)
        raise ClusterError(f"{server} cannot be reached: {err}") from err
    except BaseException:
        _forget(layout, was_there=was_there)
        raise


def to_node(decided: Settings) -> join.Node:
    """Return who this machine is in its cluster."""
    return join.Node(decided.node_name, (decided.advertise_address,))


def _again(layout: Layout, server: str) -> Settings:
    decided = settings.load(layout)
    if not decided.is_joined:
        raise UsageError(f"cluster {layout.name} was made on this machine: choose another --name for the one to join")
    if not (layout.agent / "client.crt").exists():
        raise ClusterError(
            f"{layout.agent} has lost its certificates; join anew: `knarr down --delete --name {layout.name}` first"
        )
    return settings.change(layout, server=server)


def _forget(layout: Layout, *, was_there: bool) -> None:
    if not was_there:
        shutil.rmtree(layout.data, ignore_errors=True)
        shutil.rmtree(layout.run, ignore_errors=True)


def _address_towards(host: str) -> str:
    try:
        found = socket.getaddrinfo(host, None, socket.AF_INET, socket.SOCK_DGRAM)
    except OSError as err:
        raise ClusterError(f"{host}: {err.strerror or err}") from err
    address = settings.default_address(str(found[0][4][0]))
    if not address:
        raise ClusterError(f"this machine has no address of its own towards {host}: give one with `--node-ip`")
    return address
