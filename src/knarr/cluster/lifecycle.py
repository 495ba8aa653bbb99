"""Starts and stops the processes of a cluster on this machine, and waits until it works."""

import argparse
import asyncio
import datetime
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from lightkube.models import core_v1

from knarr.api import errors as api_errors
from knarr.client import Client
from knarr.cluster import (
    access,
    cleanup,
    credentials,
    dnsprobe,
    doctor,
    node,
    serveroptions,
    settings,
    simulated,
    supervisor,
    units,
)
from knarr.cluster.errors import ClusterError, HostUnfit, WaitTimeout
from knarr.cluster.layout import Layout
from knarr.cluster.serveroptions import ServerOptions
from knarr.cluster.settings import Settings
from knarr.store import places

POLL_S = 0.05
STOP_TIMEOUT_S = 60.0
LOG_TAIL_LINES = 5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Stage:
    """Something that `up` waits for.

    Attributes:
        name: What the user reads.
        is_reached: Tells whether it has come.
    """

    name: str
    is_reached: Callable[[], Awaitable[bool]]


def keep_options(layout: Layout, arguments: argparse.Namespace) -> ServerOptions:
    """Write the server's options that the command line gives into `server.json`; return all that are there.

    Raises:
        UsageError: `server.json` is damaged.
    """
    before = serveroptions.load(layout)
    told = serveroptions.with_arguments(before, arguments)
    if told != before:
        layout.create()
        serveroptions.save(layout, told)
    return told


def prepare(
    layout: Layout,
    *,
    simulated: int = 0,
    is_node: bool | None = None,
    server_only: bool = False,
    names: Sequence[str] | None = None,
    store: str = "",
) -> Settings:
    """Check the machine and make whatever of the cluster is missing: settings, folders, certificates.

    Args:
        layout: Whose.
        simulated: How many simulated nodes a new cluster gets in place of this machine; 0: as it is.
        is_node: Whether this machine is a node, too, and has to fit one; None leaves that as it is.
        server_only: Only the server is about to start, which needs less of the machine than a node.
        names: Further names and addresses in the API server's certificate; None leaves them as they are.
        store: Where objects are kept; one that servers can share gets them a balancer.

    Raises:
        HostUnfit: A check failed; nothing was made.
        ClusterError: The settings are damaged, or no port is free.
    """
    before = settings.load(layout) if layout.settings.exists() else None
    is_simulated = bool(simulated) or (before is not None and bool(before.simulated))
    if is_node is None:
        is_node = before is None or before.is_node
    check_machine(layout, simulated=is_simulated or not is_node or server_only)
    decided = settings.load_or_create(layout, simulated=simulated)
    layout.create()
    if not decided.is_joined:
        decided = settings.change(
            layout,
            names=decided.names if names is None else tuple(names),
            is_node=is_node,
            is_balanced=decided.is_balanced or places.is_shared(store or serveroptions.load(layout).store),
        )
        credentials.ensure(layout, decided, now=datetime.datetime.now(datetime.UTC))
    return decided


def check_machine(layout: Layout, *, simulated: bool = False) -> None:
    """Check the machine.

    Args:
        layout: Whose.
        simulated: Only what a server, or a cluster of simulated nodes, needs.

    Raises:
        HostUnfit: A check failed.
    """
    found = doctor.examine(layout, simulated=simulated)
    failed = [finding for finding in found if finding.verdict is doctor.Verdict.FAILED]
    if failed:
        lines = [f"  {finding.check}: {finding.detail}; {finding.fix}" for finding in failed]
        raise HostUnfit("this machine cannot run a cluster yet:\n" + "\n".join(lines))


def is_running(layout: Layout) -> bool:
    """Return whether a cluster's server, or what starts it, runs on this machine."""
    return any(supervisor.read_pid(layout.pid_file(name)) is not None for name in ("supervisor", "server"))


def start(layout: Layout) -> bool:
    """Start the supervisor in the background, in a session of its own; or the services, where they are installed.

    Returns:
        False if it runs already.
    """
    pid_file = layout.pid_file("supervisor")
    decided = settings.load(layout)
    if units.is_installed(layout, decided):
        runs = all(supervisor.read_pid(layout.pid_file(process)) is not None for process in decided.processes)
        units.start(layout, decided)
        return not runs
    if supervisor.read_pid(pid_file) is not None:
        return False
    for orphan in ("agent", "server"):  # of a supervisor that was killed
        stop_process(layout, orphan)
    with open(layout.logs / "supervisor.log", "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "knarr", "supervise", "--name", layout.name],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )
    supervisor.write_pid(pid_file, process.pid)
    return True


def stop_process(layout: Layout, process: str, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """Ask a process to end, wait for it, and kill it when it does not.

    Args:
        layout: Whose.
        process: Which pid file.
        timeout_s: How long to wait before killing.
    """
    pid_file = layout.pid_file(process)
    pid = supervisor.read_pid(pid_file)
    if pid is not None:
        start = supervisor.process_start(pid)
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout_s
        while supervisor.process_start(pid) == start:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
    pid_file.unlink(missing_ok=True)


def end_processes(layout: Layout) -> None:
    """End supervisor, agent and server; the latter two are orphans if their supervisor was killed."""
    for process in ("supervisor", "agent", "server"):
        stop_process(layout, process)


async def stop(layout: Layout, *, progress: Progress) -> None:
    """Stop a cluster: its processes, its pods, and whatever they hold of the machine.

    Args:
        layout: Whose; one that is stopped already is swept again.
        progress: Told what happens.

    Raises:
        ClusterNotFound: There is no such cluster here.
    """
    decided = settings.load(layout)
    if units.is_installed(layout, decided):
        units.stop(layout, decided)
    end_processes(layout)
    progress("processes have ended")
    if decided.is_node and not decided.simulated:
        await node.remove_pods(layout)
        progress("pods have ended")
        await node.remove_network(decided)
    cleanup.sweep(layout, decided)
    shutil.rmtree(layout.run, ignore_errors=True)


def delete(layout: Layout) -> None:
    """Delete the data folder of a stopped cluster."""
    shutil.rmtree(layout.data)


async def wait_ready(layout: Layout, decided: Settings, *, timeout_s: float, progress: Progress) -> None:
    """Wait until the API answers, the node is Ready, the default account exists and cluster DNS answers.

    Raises:
        WaitTimeout: It took longer than `timeout_s`; the message has the stage and the last log lines.
        ClusterError: The supervisor ended.
    """
    began = time.monotonic()
    opened = access.open_node if decided.is_joined else access.open_admin
    async with opened(layout, decided) as client:
        for stage in _stages(client, decided):
            while not await stage.is_reached():
                if not is_looked_after(layout, decided):
                    raise ClusterError(f"the supervisor ended; see {layout.logs / 'supervisor.log'}")
                if time.monotonic() - began > timeout_s:
                    raise WaitTimeout(_explain_timeout(layout, stage, timeout_s))
                await asyncio.sleep(POLL_S)
            progress(f"{time.monotonic() - began:5.1f} s  {stage.name}")


def is_looked_after(layout: Layout, decided: Settings) -> bool:
    """Return whether somebody keeps the processes running: the supervisor, or systemd."""
    return supervisor.read_pid(layout.pid_file("supervisor")) is not None or units.is_installed(layout, decided)


def _stages(client: Client, decided: Settings) -> list[Stage]:
    async def api_answers() -> bool:
        return await client.is_ready()

    def is_ready(node: core_v1.Node) -> bool:
        conditions = (node.status.conditions or ()) if node.status else ()
        return any(condition.type == "Ready" and condition.status == "True" for condition in conditions)

    async def node_is_ready() -> bool:
        try:
            node = await client.get(core_v1.Node, decided.node_name)
        except api_errors.NotFound:
            return False
        return is_ready(node)

    async def account_exists() -> bool:
        try:
            await client.get(core_v1.ServiceAccount, "default", namespace="default")
        except api_errors.NotFound:
            return False
        return True

    async def dns_answers() -> bool:
        name = f"kubernetes.default.svc.{decided.domain}"
        return decided.service_address in await dnsprobe.resolve(decided.dns_address, name)

    async def nodes_are_ready() -> bool:
        try:
            await client.get(core_v1.Node, names[-1])
        except api_errors.NotFound:
            return False
        return sum(map(is_ready, (await client.list(core_v1.Node)).items)) >= len(names)

    if decided.simulated:
        names = simulated.fleet_of(decided, count=decided.simulated).names
        return [
            Stage("API server ready", api_answers),
            Stage("default service account", account_exists),
            Stage(f"{len(names)} simulated nodes Ready", nodes_are_ready),
        ]
    stages = [
        Stage("API server ready", api_answers),
        Stage(f"node {decided.node_name} Ready", node_is_ready),
        Stage("default service account", account_exists),
        Stage("cluster DNS answers", dns_answers),
    ]
    if not decided.is_node:
        return [stage for stage in stages if stage.is_reached in (api_answers, account_exists)]
    return [stage for stage in stages if not decided.is_joined or stage.is_reached is not account_exists]


def _explain_timeout(layout: Layout, stage: Stage, timeout_s: float) -> str:
    lines = [f"not reached within {timeout_s:.0f} s: {stage.name}"]
    for process in ("server", "agent"):
        path = layout.logs / f"{process}.log"
        if path.exists():
            tail = path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
            lines += [f"{path}:", *(f"  {line}" for line in tail)]
    return "\n".join(lines)
