"""`knarr controllers`: the controllers alone, against any API server."""

import argparse
import asyncio
import os
import socket
import uuid
from collections.abc import Sequence
from pathlib import Path
from random import Random

from knarr import __version__
from knarr.cli import options
from knarr.client import Client, kubeconfig
from knarr.cluster import errors, process
from knarr.control import context as contexts
from knarr.control import leader
from knarr.controllers import roster
from knarr.kit.clock import SystemClock
from knarr.kit.tasks import Supervisor

NAME = "kube-controller-manager"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_kubeconfig(parser)
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)"
    )
    parser.add_argument(
        "--controllers",
        default="*",
        metavar="LIST",
        help="which, with commas: '*' all that run by default, 'name' that one, '-name' not that one (default: *)",
    )
    parser.add_argument(
        "--cluster-cidr", default="", metavar="CIDR", help="give nodes their podCIDRs out of this range"
    )
    parser.add_argument(
        "--root-ca-file", metavar="FILE", help="what pods verify the API server with (default: the kubeconfig's)"
    )
    parser.add_argument("--cluster-signing-cert-file", metavar="FILE", help="sign certificates with this authority")
    parser.add_argument("--cluster-signing-key-file", metavar="FILE", help="its key")
    parser.add_argument(
        "--leader-elect",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="work only while holding the Lease (default: yes)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Work until SIGTERM or SIGINT."""
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    entries, told = choose(arguments.controllers), read_options(arguments, path)
    elects = arguments.leader_elect
    process.run(NAME, lambda stopping: serve(path, entries, told, stopping, context=arguments.context, elects=elects))
    return 0


def choose(text: str) -> list[roster.Entry]:
    """Return the controllers that a list with commas means.

    Raises:
        UsageError: it names one that there is not.
    """
    try:
        return roster.select([word.strip() for word in text.split(",") if word.strip()])
    except roster.UnknownController as err:
        raise errors.UsageError(f"--controllers: {err}") from err


def read_options(arguments: argparse.Namespace, path: Path) -> contexts.Options:
    """Return what the controllers are told of the cluster.

    Raises:
        UsageError: a file cannot be read.
    """
    try:
        given = _read(arguments.root_ca_file).decode()
        return contexts.Options(
            root_ca=given or kubeconfig.authority(path, arguments.context),
            cluster_cidr=arguments.cluster_cidr,
            signing_certificate=_read(arguments.cluster_signing_cert_file),
            signing_key=_read(arguments.cluster_signing_key_file),
        )
    except OSError as err:
        raise errors.UsageError(f"{err.filename}: {err.strerror}") from err


async def serve(
    path: Path,
    entries: Sequence[roster.Entry],
    told: contexts.Options,
    stopping: asyncio.Event,
    *,
    context: str = "",
    elects: bool = True,
) -> None:
    """Run controllers against the API server of a kubeconfig until told to stop.

    All act as the kubeconfig's user.

    Args:
        path: The kubeconfig.
        entries: Which controllers.
        told: Facts about the cluster.
        stopping: Ends it.
        context: Of the kubeconfig; empty takes the current one.
        elects: Whether to work only while holding the Lease.

    Raises:
        BadKubeconfig: it names no server.
    """
    clock, random = SystemClock(), Random()
    transport = kubeconfig.to_transport(path, context)
    client = Client(transport, clock=clock, user_agent=f"{NAME}/v{__version__}")
    identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4()}"
    elector = leader.Elector(client, clock, random, name=NAME, identity=identity)

    async def work() -> None:
        opened = contexts.open_context(lambda name: client, NAME, clock=clock, random=random, options=told)
        async with opened as running, Supervisor(NAME, clock=clock, random=random) as tasks:
            roster.run(running, tasks, entries)
            await asyncio.Event().wait()

    async def lead() -> None:
        while True:
            await elector.run(work)

    try:
        await process.run_until(stopping, lead if elects else work)
    finally:
        await transport.aclose()


def _read(name: str | None) -> bytes:
    return Path(name).read_bytes() if name else b""
