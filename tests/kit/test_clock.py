import asyncio

from knarr.kit.clock import FakeClock


async def test_sleepers_wake_in_the_order_of_their_deadlines() -> None:
    clock = FakeClock()
    woken: list[tuple[str, float]] = []

    async def sleep(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic_s()))

    tasks = [asyncio.create_task(sleep(name, seconds)) for name, seconds in (("late", 3), ("early", 1), ("never", 9))]
    await clock.advance(5)
    assert woken == [("early", 1), ("late", 3)]
    tasks[2].cancel()


async def test_a_sleeper_that_sleeps_again_is_served_within_one_advance() -> None:
    clock = FakeClock()
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await clock.sleep(1)
            ticks.append(clock.monotonic_s())

    task = asyncio.create_task(tick())
    await clock.advance(3.5)
    assert ticks == [1, 2, 3]
    task.cancel()


async def test_wall_time_moves_along() -> None:
    clock = FakeClock()
    before = clock.now()
    await clock.advance(90)
    assert (clock.now() - before).total_seconds() == 90
