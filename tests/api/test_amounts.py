import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api import amounts


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("1", 10**9),
        ("100m", 10**8),
        ("1.5Gi", 1610612736 * 10**9),
        ("2e3", 2000 * 10**9),
        ("1E", 10**27),
        (".5", 5 * 10**8),
        ("-1k", -(10**12)),
        ("0.1n", 1),
        (4, 4 * 10**9),
    ],
)
def test_amounts_in_billionths(text, nanos):
    assert amounts.nanos(text) == nanos


@pytest.mark.parametrize("text", ["", "x", "1 Gi", "1gi", "--1", "1e", "1.2.3", "١"])
def test_what_is_no_quantity(text):
    with pytest.raises(ValueError, match="not a quantity"):
        amounts.nanos(text)


@pytest.mark.parametrize(
    ("nanos", "sample", "text"),
    [
        (2 * 1024**3 * 10**9, "1Mi", "2Gi"),
        (1025 * 10**9, "1Ki", "1025"),
        (15 * 10**8, "1", "1500m"),
        (3_000_000 * 10**9, "1k", "3M"),
        (0, "1Mi", "0"),
    ],
)
def test_canonical_form(nanos, sample, text):
    assert amounts.format_like(nanos, sample) == text


@given(st.integers(-(10**30), 10**30), st.sampled_from(["1", "1Mi", "5m"]))
def test_what_is_written_reads_back(nanos, sample):
    assert amounts.nanos(amounts.format_like(nanos, sample)) == nanos
