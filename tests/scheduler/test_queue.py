import asyncio

from lightkube.models import core_v1
from msgspec.structs import replace

from knarr.kit.clock import FakeClock
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.podfacts import of as facts_of
from knarr.scheduler.queue import Queue
from tests.scheduler.objects import facts, pod

GONE = Event(Kind.POD_GONE)


class Advice:
    def key(self, pod: PodFacts, since_s: float) -> tuple[float, ...]:
        return (-pod.priority, since_s)

    def gate(self, pod: PodFacts) -> str:
        return "SchedulingGates" if pod.spec.schedulingGates else ""

    def hears(self, plugin: str, kind: Kind) -> bool:
        return kind is Kind.POD_GONE

    def may_help(self, plugin: str, event: Event, pod: PodFacts) -> bool:
        return plugin == "Fit"


async def test_higher_priority_first_then_older() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    await clock.advance(1)
    queue.add(facts("b"))
    queue.add(facts("c", priority=5))
    assert [(await queue.pop()).facts.name for _ in range(3)] == ["c", "a", "b"]


async def test_a_rejected_pod_waits_for_an_event_that_helps_and_for_its_backoff() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    queue.retry(await queue.pop(), {"Fit"})
    popped = asyncio.ensure_future(queue.pop())
    queue.move(Event(Kind.NODE_UPDATED))
    await clock.advance(5)
    assert not popped.done()
    queue.move(GONE)
    await clock.advance(0)
    assert popped.done()  # its backoff was over
    queue.add(facts("b"))
    queue.add(facts("c"))
    queue.retry(popped.result(), {"Fit"})
    queue.move(GONE)
    assert queue.counts()["backoff"] == 1
    assert (await queue.pop()).facts.name == "b"  # not before its backoff is over while there are others
    await clock.advance(2.1)  # two seconds after the second failure
    assert [(await queue.pop()).facts.name for _ in range(2)] == ["a", "c"]


async def test_with_nothing_else_to_try_a_pod_that_an_event_may_help_does_not_rest() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    queue.retry(await queue.pop(), {"Fit"})
    queue.move(GONE)
    assert queue.counts()["backoff"] == 1
    again = await queue.pop()
    assert (again.attempts, clock.monotonic_s()) == (2, 0.0)
    # After an error it rests all the same.
    queue.retry(again, ())
    resting = asyncio.ensure_future(queue.pop())
    await clock.advance(1.9)
    assert not resting.done()
    await clock.advance(0.2)
    assert resting.done()


async def test_what_a_pod_gives_back_does_not_help_itself() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    for name in ("a", "b"):
        queue.add(facts(name))
        queue.retry(await queue.pop(), {"Fit"})
    queue.move(GONE, but="uid-a")
    assert queue.counts()["unschedulable"] == 1
    assert (await queue.pop()).facts.name == "b"


async def test_an_event_during_the_try_is_not_missed() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    waiting = await queue.pop()
    queue.move(GONE)
    queue.retry(waiting, {"Fit"})
    again = asyncio.ensure_future(queue.pop())
    await clock.advance(1.1)
    assert again.done()


async def test_errors_are_tried_again_by_backoff_alone() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    queue.retry(await queue.pop(), ())
    again = asyncio.ensure_future(queue.pop())
    await clock.advance(1.1)
    assert again.done()


async def test_gates_hold_a_pod_back_until_they_are_gone() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    gated = pod("a", schedulingGates=[core_v1.PodSchedulingGate(name="g")])
    queue.add(facts_of(gated))
    assert queue.counts() == {"active": 0, "backoff": 0, "unschedulable": 0, "gated": 1, "in flight": 0}
    queue.move(GONE)
    assert gated.spec
    queue.add(facts_of(replace(gated, spec=replace(gated.spec, schedulingGates=None))))
    assert (await queue.pop()).facts.name == "a"


async def test_a_removed_pod_is_not_popped() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    queue.add(facts("b"))
    queue.remove("uid-a")
    assert (await queue.pop()).facts.name == "b"


async def test_after_five_minutes_a_pod_is_tried_all_the_same() -> None:
    clock = FakeClock()
    queue = Queue(clock, Advice())
    queue.add(facts("a"))
    queue.retry(await queue.pop(), {"Other"})
    again = asyncio.ensure_future(queue.pop())
    await clock.advance(290)
    assert not again.done()
    await clock.advance(60)
    assert again.done()
