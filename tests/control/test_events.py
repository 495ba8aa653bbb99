from datetime import timedelta

from lightkube.models import core_v1, meta_v1

from knarr.control.events import Correlator
from knarr.kit.clock import FakeClock


def event(message: str, *, name: str = "web", reason: str = "Pulled") -> core_v1.Event:
    about = core_v1.ObjectReference(kind="Pod", namespace="ns", name=name, uid=name, apiVersion="v1")
    meta = meta_v1.ObjectMeta(name=f"{name}.1", namespace="ns")
    return core_v1.Event(involvedObject=about, metadata=meta, type="Normal", reason=reason, message=message, count=1)


async def test_a_repetition_is_counted_onto_the_first() -> None:
    correlator = Correlator(FakeClock())
    first = correlator.correlate(event("hello"))
    assert first is not None
    assert first[1] is None
    correlator.remember(first[0])
    second = event("hello")
    second.metadata.name = "web.2"
    again = correlator.correlate(second)
    assert again is not None
    assert again[1] is not None
    assert (again[0].metadata.name, again[0].count) == ("web.1", 2)


async def test_many_that_differ_only_in_words_become_one() -> None:
    correlator = Correlator(FakeClock())
    written = []
    for number in range(12):
        decided = correlator.correlate(event(f"word {number}"))
        assert decided is not None
        correlator.remember(decided[0])
        written.append((decided[0].message or "", decided[1] is not None))
    assert written[8] == ("word 8", False)
    assert written[9] == ("(combined from similar events): word 9", False)
    assert written[10] == ("(combined from similar events): word 10", True)


async def test_a_flood_about_one_object_is_held_back_and_others_are_not() -> None:
    clock = FakeClock()
    correlator = Correlator(clock)
    passed = sum(correlator.correlate(event("x", reason=f"R{number}")) is not None for number in range(40))
    assert passed == 25
    assert correlator.correlate(event("x", name="other")) is not None
    await clock.advance(timedelta(minutes=5).total_seconds() + 1)
    assert correlator.correlate(event("x", reason="later")) is not None
    assert correlator.correlate(event("x", reason="too soon")) is None
