import pytest

from knarr.api import intstr


@pytest.mark.parametrize(
    ("value", "total", "round_up", "expected"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("100%", 7, True, 7), ("0%", 7, True, 0)],
)
def test_counts_stand_and_percentages_are_scaled(value: int | str, total: int, round_up: bool, expected: int) -> None:
    assert intstr.scale(value, total, round_up=round_up) == expected


@pytest.mark.parametrize("value", ["5", "x%", "-5%", "5.5%", ""])
def test_other_text_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="not a percentage"):
        intstr.scale(value, 10, round_up=True)
