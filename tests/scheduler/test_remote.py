"""`knarr scheduler` against an API server over HTTPS."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lightkube.models import coordination_v1, core_v1

from knarr.cli import scheduler as command
from knarr.client import Client
from knarr.cluster.errors import UsageError
from tests.scheduler import objects
from tests.scheduler.remote import open_remote
from tests.scheduler.test_scheduler import pod

EXAMPLE = Path(__file__).parents[2] / "examples" / "02-scheduler-plugin"


@contextlib.asynccontextmanager
async def running(path: Path, config: str | None = None, **more: bool) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    task = asyncio.ensure_future(command.serve(path, command.read(config), stopping, **more))
    try:
        yield
    finally:
        stopping.set()
        await task


async def placed(client: Client, name: str) -> str:
    async with asyncio.timeout(20):
        async for event in client.watch(core_v1.Pod, namespace="default", fields=f"metadata.name={name}"):
            if event.object is not None and event.object.spec and event.object.spec.nodeName:
                return event.object.spec.nodeName
    raise AssertionError


async def test_it_leads_and_binds_with_the_rights_of_its_role(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as (client, path), running(path):
        await client.create(objects.node("n1"))
        await client.create(pod("p", cpu="1"))
        assert await placed(client, "p") == "n1"
        lease = await client.get(coordination_v1.Lease, "kube-scheduler", namespace="kube-system")
        assert lease.spec and lease.spec.holderIdentity
        identity = lease.spec.holderIdentity
    assert len(identity.split("_")) == 3


async def test_the_example_plugin_has_its_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLE))
    config = str(EXAMPLE / "scheduler.yaml")
    async with open_remote(tmp_path) as (client, path), running(path, config, elects=False):
        for name, loudness in (("loud", "80"), ("calm", "40"), ("silent", "10")):
            await client.create(objects.node(name, labels={"example.com/decibels": loudness}))
        quiet = {"example.com/wants": "quiet"}
        await client.create(pod("q", cpu="1", labels=quiet, schedulerName="quiet-scheduler"))
        assert await placed(client, "q") == "silent"
        await client.create(pod("big", cpu="3500m", labels=quiet, schedulerName="quiet-scheduler"))
        assert await placed(client, "big") == "calm"
        await client.create(pod("none", cpu="3500m", labels=quiet, schedulerName="quiet-scheduler"))
        async with asyncio.timeout(20):
            async for event in client.watch(core_v1.Event, namespace="default", fields="reason=FailedScheduling"):
                if event.object is not None:
                    message = event.object.message or ""
                    break
        assert message.startswith("0/3 nodes are available: 1 node(s) were too loud, 2 Insufficient cpu.")
        assert event.object and event.object.source and event.object.source.component == "quiet-scheduler"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: Pod", "expected apiVersion kubescheduler.config.k8s.io/v1 and kind KubeSchedulerConfiguration"),
        ("profiles: [{plugins: {sort: {}}}]", "profiles[0].plugins.sort: unknown extension point"),
        ("podInitialBackoffSeconds: 0", "podInitialBackoffSeconds: Invalid value: 0: must be greater than 0"),
        ("leaderElection: {leaseDuration: soon}", "leaseDuration: 'soon': expected a duration such as 15s"),
        ("nodes: 3", "nodes: unknown field"),
    ],
)
def test_bad_configurations_are_told(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    head = (
        ""
        if text.startswith("kind")
        else "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"
    )
    path.write_text(head + text)
    with pytest.raises(UsageError, match="config") as caught:
        command.read(str(path))
    assert problem in str(caught.value)
