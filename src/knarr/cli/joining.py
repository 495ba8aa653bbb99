"""The options with which `knarr agent`, `knarr server` and `knarr up` join a cluster that was made on another machine."""

import argparse
import asyncio

from knarr.cli import options
from knarr.cluster import lifecycle, member
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what it takes to join a cluster that was made on another machine."""
    group = parser.add_argument_group("joining a cluster of another machine")
    group.add_argument("--server", default="", metavar="URL", help="a server of it, such as https://192.0.2.1:6443")
    group.add_argument("--token", default="", metavar="TOKEN", help="of `knarr token create` there; only to join")
    group.add_argument(
        "--ca-hash", default="", metavar="HASH", help="sha256:… of its authority's key, printed with the token"
    )
    group.add_argument(
        "--certificate-key",
        default="",
        metavar="KEY",
        help="of `knarr token create --control-plane`: this machine gets a further server of that cluster",
    )
    group.add_argument("--node-name", default="", metavar="NAME", help="what the node is called (default: host name)")
    group.add_argument(
        "--node-ip", default="", metavar="ADDRESS", help="the node's address (default: that on the way to the server)"
    )


def join(layout: Layout, arguments: argparse.Namespace) -> None:
    """Join the cluster that the arguments name, if they name one.

    Raises:
        ClusterError: This did not come about; the class and the message say why.
    """
    if not arguments.server:
        if arguments.token:
            raise UsageError("--token goes with --server: where is the cluster to join?")
        return
    lifecycle.check_machine(layout, simulated=bool(getattr(arguments, "disable_agent", False)))
    given = {
        "server": arguments.server.rstrip("/"),
        "token": arguments.token,
        "ca_hash": arguments.ca_hash,
        "node_name": arguments.node_name,
        "node_ip": arguments.node_ip,
    }
    if arguments.certificate_key:
        names = tuple(getattr(arguments, "tls_san", None) or ())
        further = member.ensure_server(layout, **given, certificate_key=arguments.certificate_key, names=names)
        decided = asyncio.run(further)
        options.say(f"{decided.node_name} has a further server of the cluster at {given['server']}")
        return
    decided = asyncio.run(member.ensure(layout, **given))
    options.say(f"node {decided.node_name} is a member of the cluster at {decided.server}")


def add_names(parser: argparse.ArgumentParser) -> None:
    """Add `--tls-san`."""
    parser.add_argument(
        "--tls-san",
        action="append",
        metavar="NAME",
        help="a further name or address in the API server's certificate; may be repeated",
    )
