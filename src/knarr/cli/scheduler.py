"""`knarr scheduler`: the scheduler alone, against any API server."""

import argparse
import asyncio
import os
import socket
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random

from knarr import __version__
from knarr.cli import options
from knarr.client import Client, kubeconfig
from knarr.cluster import errors, process
from knarr.control import context as contexts
from knarr.control import leader
from knarr.kit.clock import Clock, SystemClock
from knarr.kit.tasks import Supervisor
from knarr.scheduler import configuration, scheduler
from knarr.scheduler import errors as scheduler_errors

NAME = "kube-scheduler"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_kubeconfig(parser)
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)"
    )
    parser.add_argument("--config", metavar="FILE", help="a KubeSchedulerConfiguration")
    parser.add_argument(
        "--leader-elect",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="work only while holding the Lease (default: as the configuration says, else yes)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Schedule until SIGTERM or SIGINT, or until leadership is lost."""
    settings = read(arguments.config)
    elects = settings.leader_election.enabled if arguments.leader_elect is None else arguments.leader_elect
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    process.run(NAME, lambda stopping: serve(path, settings, stopping, context=arguments.context, elects=elects))
    return 0


def read(path: str | None) -> configuration.Settings:
    """Read a configuration file; upstream's defaults without one.

    Raises:
        UsageError: it cannot be read or used.
    """
    if path is None:
        return configuration.Settings()
    try:
        return configuration.parse(Path(path).read_text())
    except (OSError, scheduler_errors.BadConfiguration) as err:
        raise errors.UsageError(f"--config {path}: {err}") from err


async def serve(
    path: Path, settings: configuration.Settings, stopping: asyncio.Event, *, context: str = "", elects: bool = True
) -> None:
    """Run a scheduler against the API server of a kubeconfig until told to stop.

    Args:
        path: The kubeconfig.
        settings: The configuration.
        stopping: Ends it.
        context: Of the kubeconfig; empty takes the current one.
        elects: Whether to work only while holding the Lease.

    Raises:
        BadKubeconfig: it names no server.
        UsageError: a plugin does not exist or refuses its arguments.
    """
    clock, random = SystemClock(), Random()
    transport = kubeconfig.to_transport(path, context)
    client = Client(transport, clock=clock, user_agent=f"{NAME}/v{__version__}")
    try:
        async with contexts.open_context(lambda name: client, NAME, clock=clock, random=random) as opened:

            async def work() -> None:
                async with Supervisor(NAME, clock=clock, random=random) as tasks:
                    scheduler.run(opened, tasks, settings)
                    await asyncio.Event().wait()

            await process.run_until(
                stopping, lambda: _lead(client, clock, random, settings, work) if elects else work()
            )
    except scheduler_errors.BadConfiguration as err:
        raise errors.UsageError(str(err)) from err
    finally:
        await transport.aclose()


async def _lead(
    client: Client, clock: Clock, random: Random, settings: configuration.Settings, work: Callable[[], Awaitable[None]]
) -> None:
    chosen = settings.leader_election
    identity = f"{socket.gethostname()}_{os.getpid()}_{uuid.uuid4()}"
    timing = leader.Timing(chosen.lease_s, chosen.renew_s, chosen.retry_s)
    elector = leader.Elector(
        client, clock, random, name=chosen.name, identity=identity, namespace=chosen.namespace, timing=timing
    )
    while True:
        await elector.run(work)
