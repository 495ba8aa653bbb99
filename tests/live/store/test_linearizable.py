"""Clients of real API servers while processes crash and pause, the disk is full and the network is cut: nothing acknowledged is lost.

Seconds of faults a store: KNARR_FAULTS_S (default 20); the seed: KNARR_SEED (default 1), printed with what happened.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.live.store.clients import Clients, NoAnswer, NotSent
from tests.live.store.processes import Members, Process, Tmpfs, server
from tests.store import etcd
from tests.store.linearizability import NEVER, find_violations, misordered

pytestmark = pytest.mark.live
SECONDS = float(os.environ.get("KNARR_FAULTS_S", "20"))
SEED = int(os.environ.get("KNARR_SEED", "1"))
CLIENTS, KEYS = 6, 4
FAULTS = 3
"""So many at least, however slow the machine is."""
RECOVERY_S = 60.0


@dataclass(frozen=True)
class Fault:
    """Something that is done, lasts, and is undone.

    Attributes:
        name: For the report.
        begin: Does it.
        end: Undoes it.
        lasts_s: In between.
    """

    name: str
    begin: Callable[[], None]
    end: Callable[[], None]
    lasts_s: float


def crashes(process: Process) -> list[Fault]:
    """Return what can happen to a process."""
    return [
        Fault(f"kill -9 {process.name}", process.kill, process.start, 0.5),
        Fault(f"pause {process.name}", process.pause, process.resume, 3.0),
    ]


async def inject(clients: Clients, faults: Sequence[Fault], random: Random, until: float) -> list[tuple[str, float]]:
    """Have one fault after the other, each as soon as clients write again after the one before.

    Returns:
        What was done, and how many seconds after its end the next write was acknowledged.
    """
    done: list[tuple[str, float]] = []
    waiting: list[Fault] = []
    while time.monotonic() < until or len(done) < FAULTS:
        waiting = waiting or random.sample(faults, len(faults))  # each once before any comes again
        fault = waiting.pop()
        await asyncio.to_thread(fault.begin)
        try:
            await asyncio.sleep(fault.lasts_s)
        finally:
            await asyncio.to_thread(fault.end)
        ended = time.monotonic()
        while clients.last_write < ended:
            assert time.monotonic() < ended + RECOVERY_S, f"no write within {RECOVERY_S} s after {fault.name}"
            await asyncio.sleep(0.05)
        done.append((fault.name, clients.last_write - ended))
        await asyncio.sleep(random.random())
    return done


async def wait_ready(clients: Clients, port: int, servers: Sequence[Process], timeout_s: float = 60) -> None:
    """Wait until a server answers a read."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            await clients.read(port, "k0")
            return
        except (NoAnswer, NotSent):
            assert time.monotonic() < deadline, "\n".join(process.tail() for process in servers)
            await asyncio.sleep(0.1)


@asynccontextmanager
async def playing(clients: Clients) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(clients.run(index)) for index in range(CLIENTS)]
    try:
        yield
    finally:
        clients.is_ending = True
        await asyncio.gather(*tasks)


async def play(ports: Sequence[int], servers: Sequence[Process], faults: Sequence[Fault]) -> None:
    """Let clients and faults loose, and look at what clients were told."""
    random = Random(SEED)
    clients = Clients(ports, random, KEYS)
    for process in servers:
        process.start()
    for port in ports:
        await wait_ready(clients, port, servers)
    async with playing(clients):
        done = await inject(clients, faults, random, time.monotonic() + SECONDS)
        await asyncio.sleep(1)
    for port in ports:
        await wait_ready(clients, port, servers)
        for index in range(KEYS):
            await clients.read(port, f"k{index}")
    history = clients.history
    made = [call for call in history if call.kind == "write" and call.end != NEVER and not call.is_lost]
    unknown = sum(call.end == NEVER for call in history)
    print(
        f"seed {SEED}: {len(done)} faults, {len(history)} calls, {len(made)} writes acknowledged, "
        f"{unknown} without an answer, {clients.refused} refused; the next write after each fault:",
        *(f"{name}: {seconds:.1f} s" for name, seconds in done),
        sep="\n  ",
    )
    assert len(made) > 10, "\n".join(process.tail() for process in servers)
    assert find_violations(history) == []
    assert misordered(history) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Tmpfs]:
    folder = tmp_path / "disk"
    folder.mkdir()
    disk = Tmpfs(folder, 24)
    disk.mount()
    yield disk
    disk.unmount()


async def test_sqlite(disk: Tmpfs) -> None:
    [port] = etcd.free_ports(1)
    one = server("server", port, "sqlite", disk.folder)
    try:
        await play([port], [one], [*crashes(one), Fault("full disk", disk.fill, disk.empty, 2.0)])
    finally:
        one.resume()
        one.kill()


@pytest.fixture
def members(tmp_path: Path) -> Iterator[Members]:
    if not etcd.BINARY:
        pytest.fail(etcd.MISSING)
    members = Members(tmp_path)
    members.start()
    yield members
    members.stop()


async def test_etcd_of_three_with_two_servers(members: Members, tmp_path: Path) -> None:
    ports = etcd.free_ports(2)
    servers = [server(f"server{index}", port, members.store, tmp_path) for index, port in enumerate(ports)]
    faults = [fault for process in servers for fault in crashes(process)]
    for name in members.names:
        faults += crashes(members.processes[name])
        for alone in (True, False):
            what = "its peers" if alone else "everybody"
            faults.append(
                Fault(
                    f"cut {name} off from {what}",
                    lambda name=name, alone=alone: members.cut(name, peers_alone=alone),  # type: ignore[misc]
                    lambda name=name: members.mend(name),  # type: ignore[misc]
                    4.0,
                )
            )
    try:
        await play(ports, servers, faults)
    finally:
        for process in servers:
            process.resume()
            process.kill()
