import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from knarr.kit.clock import SystemClock
from knarr.node.runtime import containerd, errors
from knarr.node.runtime.cri import CriRuntime, wait_serving
from knarr.node.runtime.runtime import ContainerConfig, ContainerState, Event, EventKind, SandboxConfig

pytestmark = [pytest.mark.live, pytest.mark.timeout(60)]


@pytest.fixture
async def runtime(machine: Any) -> AsyncIterator[CriRuntime]:
    await wait_serving(str(machine.config.socket), timeout_s=10)
    runtime = CriRuntime(str(machine.config.socket))
    yield runtime
    for sandbox in await runtime.list_sandboxes():
        await runtime.stop_sandbox(sandbox.id)
        await runtime.remove_sandbox(sandbox.id)
    await runtime.aclose()


def sandbox_config(machine: Any, name: str) -> SandboxConfig:
    return SandboxConfig(
        name=name,
        namespace="default",
        uid=f"uid-{name}",
        hostname=name,
        log_directory=str(machine.folder / "pods" / name),
        labels={"io.kubernetes.pod.uid": f"uid-{name}"},
        cgroup_parent=machine.cgroup_root,
    )


async def test_container_runs_logs_and_exits(runtime: CriRuntime, machine: Any) -> None:
    sandbox = sandbox_config(machine, "a")
    seen: asyncio.Queue[Event] = asyncio.Queue()

    async def collect() -> None:
        async for event in runtime.events():
            await seen.put(event)

    collecting = asyncio.create_task(collect())
    await asyncio.sleep(0.1)
    sandbox_id = await runtime.run_sandbox(sandbox)
    status = await runtime.sandbox_status(sandbox_id)
    assert status is not None
    assert status.ready
    assert status.ips[0].startswith(machine.subnet)
    config = ContainerConfig(
        "c", 0, machine.busybox, command=("sh", "-c", "echo $GREETING; exit 3"), env=(("GREETING", "hi"),), log_path="c/0.log",
        labels=sandbox.labels,
    )  # fmt: skip
    (machine.folder / "pods/a/c").mkdir(parents=True)
    container_id = await runtime.create_container(sandbox_id, config, sandbox)
    await runtime.start_container(container_id)
    while await seen.get() != Event(EventKind.EXITED, container_id):
        pass
    collecting.cancel()
    while (done := await runtime.container_status(container_id)) is None or done.state is not ContainerState.EXITED:
        await asyncio.sleep(0.01)
    assert done.exit_code == 3
    assert done.finished_at_ns > 0
    assert done.started_at_ns > 0
    log = (machine.folder / "pods/a/c/0.log").read_text()
    assert log.split(" ", 1)[1] == "stdout F hi\n"
    assert [c.id for c in await runtime.list_containers(uid="uid-a")] == [container_id]
    assert [s.id for s in await runtime.list_sandboxes(uid="nobody")] == []


async def test_exec_answers_and_times_out(runtime: CriRuntime, machine: Any) -> None:
    sandbox = sandbox_config(machine, "b")
    sandbox_id = await runtime.run_sandbox(sandbox)
    container_id = await runtime.create_container(
        sandbox_id, ContainerConfig("c", 0, machine.busybox, command=("sleep", "1000")), sandbox
    )
    await runtime.start_container(container_id)
    result = await runtime.exec_sync(container_id, ["sh", "-c", "echo out; echo err >&2; exit 4"], timeout_s=5)
    assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 4)
    with pytest.raises(errors.ExecTimeout):
        await runtime.exec_sync(container_id, ["sleep", "30"], timeout_s=1)
    url = await runtime.exec_url(container_id, ["sh"], tty=False, stdin=False, stdout=True, stderr=True)
    assert url.startswith("http://127.0.0.1:")
    assert (await runtime.container_status(container_id, verbose=True)).pid > 0  # type: ignore[union-attr]


async def test_missing_things_are_none_or_nothing(runtime: CriRuntime) -> None:
    assert await runtime.container_status("nope") is None
    assert await runtime.sandbox_status("nope") is None
    assert await runtime.image_status("localhost/nope:1") is None
    await runtime.stop_sandbox("nope")
    await runtime.remove_container("nope")


async def test_daemon_is_adopted_and_restarted(machine: Any) -> None:
    async with containerd.open_containerd(machine.config, SystemClock()) as daemon:
        pid = daemon.pid
        assert pid == containerd.find_running(machine.config)
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while daemon.pid in (0, pid):
                await asyncio.sleep(0.05)
        assert daemon.restarts == 1
    version = await wait_serving(str(machine.config.socket), timeout_s=10)
    assert version.name == "containerd"
    assert containerd.find_running(machine.config) != pid
