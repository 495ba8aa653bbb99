from knarr.control.expectations import Expectations
from knarr.kit.clock import FakeClock


async def test_what_was_created_and_deleted_is_waited_for() -> None:
    expected = Expectations(FakeClock())
    assert expected.is_fulfilled("rs")
    expected.expect("rs", 2, {"x"})
    expected.saw_creation("rs")
    assert not expected.is_fulfilled("rs")
    expected.saw_creation("rs")
    assert not expected.is_fulfilled("rs")
    expected.saw_deletion("rs", "x")
    assert expected.is_fulfilled("rs")


async def test_waiting_ends_after_five_minutes() -> None:
    clock = FakeClock()
    expected = Expectations(clock)
    expected.expect_creations("rs", 1)
    await clock.advance(299)
    assert not expected.is_fulfilled("rs")
    await clock.advance(2)
    assert expected.is_fulfilled("rs")
