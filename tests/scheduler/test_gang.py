from lightkube.models import core_v1

from knarr.scheduler.plugins.gang_scheduling import MIN_AVAILABLE, NAME
from tests.controllers.lab import Lab, open_lab
from tests.scheduler.test_scheduler import node_of, pod


def member(name: str, least: int = 3) -> core_v1.Pod:
    return pod(name, cpu="3", labels={NAME: "g", MIN_AVAILABLE: str(least)})


async def nodes(lab: Lab, *names: str) -> list[str]:
    return [await node_of(lab, name) for name in names]


async def test_a_group_waits_until_it_is_whole_and_then_runs_at_once() -> None:
    async with open_lab("n1", "n2") as lab:
        for name in ("a", "b"):
            await lab.client.create(member(name))
        await lab.settle(2)
        assert await nodes(lab, "a", "b") == ["", ""]
        assert await lab.events("FailedScheduling") == []
        await lab.client.create(member("c"))

        async def all_run() -> bool:
            return all(await nodes(lab, "a", "b", "c"))

        await lab.until(all_run)


async def test_a_group_that_does_not_fit_takes_no_room() -> None:
    async with open_lab("n1") as lab:  # room for two of three
        for name in ("a", "b", "c"):
            await lab.client.create(member(name))
        await lab.settle(3)
        assert await nodes(lab, "a", "b", "c") == ["", "", ""]
        await lab.client.create(pod("other", cpu="8"))

        async def other_runs() -> bool:
            return await node_of(lab, "other") == "n1"

        await lab.until(other_runs)
        await lab.nodes.add("n2", cpu="16")

        async def all_run() -> bool:
            return await nodes(lab, "a", "b", "c") == ["n2"] * 3

        await lab.until(all_run)
