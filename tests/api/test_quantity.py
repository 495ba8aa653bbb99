import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api import quantity


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1024Mi", "1Gi"),
        ("1.5Gi", "1536Mi"),
        ("0.5Ki", "512"),
        ("1023Ki", "1023Ki"),
        ("2000k", "2M"),
        ("1e3", "1e3"),
        ("1.5e3", "1500"),
        ("0Mi", "0"),
        ("0.1n", "1n"),
        ("-1.5", "-1500m"),
        (" 1 ", "1"),
        ("1e30", "9223372036854775807"),
    ],
)
def test_canonical_form(text, canonical):
    assert quantity.canonical(text) == canonical


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", quantity.FORMAT_WRONG),
        ("abc", quantity.FORMAT_WRONG),
        ("1.2.3", quantity.FORMAT_WRONG),
        ("1 Gi", quantity.FORMAT_WRONG),
        ("1gi", quantity.FORMAT_WRONG),
        ("15+", quantity.FORMAT_WRONG),
        ("1mm", quantity.SUFFIX_WRONG),
        ("1e", quantity.SUFFIX_WRONG),
        ("1Mi5", quantity.SUFFIX_WRONG),
        ("m", quantity.NUMERIC_WRONG),
        (".", quantity.NUMERIC_WRONG),
        ("1" + "x" * 100, quantity.FORMAT_WRONG),
    ],
)
def test_what_is_no_quantity(text, words):
    with pytest.raises(quantity.QuantityError) as caught:
        quantity.parse(text)
    assert str(caught.value) == words


def test_amounts_compare_whatever_their_notation():
    assert quantity.parse("1Gi") > quantity.parse("1G")
    assert quantity.parse("1000m") == quantity.parse("1")
    assert str(quantity.parse("1Gi") + quantity.parse("1Mi")) == "1025Mi"


@pytest.mark.parametrize(
    ("text", "value", "millis"), [("1500m", 2, 1500), ("-1500m", -2, -1500), ("1u", 1, 1), ("2", 2, 2000)]
)
def test_whole_numbers_are_rounded_away_from_zero(text, value, millis):
    found = quantity.parse(text)
    assert (found.value, found.milli_value) == (value, millis)


def test_endless_digits_are_read_and_not_kept():
    text = "0" * 5000 + "1"
    assert quantity.canonical(text) == "1"
    assert quantity.canonical("1e" + "9" * 5000) == str(2**63 - 1)


@given(st.text("0123456789.eEmMkKiGTP+-n ", max_size=12))
def test_canonical_form_is_its_own(text):
    try:
        once = quantity.canonical(text)
    except quantity.QuantityError:
        return
    assert quantity.canonical(once) == once
