import asyncio
import logging

import pytest

from knarr.kit.backoff import Curve
from knarr.kit.clock import FakeClock
from knarr.kit.tasks import Supervisor


async def test_work_that_fails_is_started_again_with_growing_pauses(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    started: list[float] = []

    async def work() -> None:
        started.append(clock.monotonic_s())
        if len(started) < 4:
            raise OSError("no luck")

    with caplog.at_level(logging.ERROR):
        async with Supervisor("test", clock=clock, restart=Curve(first_s=1, limit_s=60)) as supervisor:
            task = supervisor.run("worker", work)
            await clock.advance(0)
            assert supervisor.failing == {"worker": "OSError: no luck"}
            await clock.advance(10)
            assert task.done()
            assert supervisor.failing == {}
    assert started == [0, 1, 3, 7]
    assert "worker failed, restarting in 1.0 s" in caplog.text


async def test_leaving_ends_all_tasks() -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("work")

    async with Supervisor() as supervisor:
        supervisor.run("work", work)
        supervisor.once("once", work())
        await asyncio.sleep(0)
    assert ended == ["work", "work"]


async def test_one_off_work_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ValueError("bad")

    async with Supervisor() as supervisor:
        await supervisor.once("job", work())
    assert "job failed" in caplog.text
