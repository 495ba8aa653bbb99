import asyncio
from random import Random

from lightkube.models import coordination_v1

from knarr.control.leader import Elector
from tests.controllers.lab import Lab, open_lab


async def test_one_leads_and_another_takes_over_when_it_stops() -> None:
    async with open_lab() as lab:
        leading: list[str] = []

        def elector(name: str) -> Elector:
            return Elector(lab.client, lab.clock, Random(1), name="test", identity=name)

        async def work(name: str) -> None:
            leading.append(name)
            await asyncio.Event().wait()

        first = asyncio.ensure_future(elector("a").run(lambda: work("a")))
        await lab.settle(1)
        second = asyncio.ensure_future(elector("b").run(lambda: work("b")))
        await lab.settle(30)
        assert leading == ["a"]
        first.cancel()
        await asyncio.wait([first])
        await lab.settle(10)
        assert leading == ["a", "b"]
        assert await holder(lab) == ("b", 1)
        second.cancel()
        await asyncio.wait([second])


async def test_a_holder_that_died_is_waited_for_no_longer_than_its_lease() -> None:
    async with open_lab() as lab:
        dead = Elector(lab.client, lab.clock, Random(1), name="test", identity="dead")
        assert await dead._try()
        leading: list[float] = []

        async def work() -> None:
            leading.append(lab.clock.monotonic_s())
            await asyncio.Event().wait()

        began = lab.clock.monotonic_s()
        task = asyncio.ensure_future(Elector(lab.client, lab.clock, Random(1), name="test", identity="b").run(work))
        await lab.settle(25)
        assert 14 < leading[0] - began < 21
        task.cancel()
        await asyncio.wait([task])


async def holder(lab: Lab) -> tuple[str | None, int | None]:
    lease = await lab.client.get(coordination_v1.Lease, "test", namespace="kube-system")
    assert lease.spec
    return lease.spec.holderIdentity, lease.spec.leaseTransitions
