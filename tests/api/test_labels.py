import pytest

from knarr.api import labels


@pytest.mark.parametrize(
    ("text", "values", "is_match"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a!=b", {"a": "b"}, False),
        ("a in (b,c)", {"a": "c"}, True),
        ("a notin (b,c)", {}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("!a", {}, True),
        ("a>1", {"a": "2"}, True),
        ("a<1", {"a": "x"}, False),
        ("a=", {"a": ""}, True),
        ("a=b,c", {"a": "b"}, False),
        ("in in (in,notin)", {"in": "notin"}, True),
        ("example.com/a=b", {"example.com/a": "b"}, True),
    ],
)
def test_matching(text, values, is_match):
    selector = labels.parse(text)
    assert selector.matches(values) is is_match
    by_index = all(values.get(key) == value for _, key, value in selector.terms)
    assert (by_index and selector.rest.matches(values)) is is_match


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x,", "found '', expected: identifier after ','"),
        ("x y", "unable to parse requirement: found 'y', expected: in, notin, =, ==, !=, gt, lt"),
        ("a in b", "unable to parse requirement: found 'b' expected: '('"),
        ("a in (b", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("=b", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a in ()", "unable to parse requirement: values: Invalid value: []: "
                    "for 'in', 'notin' operators, values set can't be empty"),
        ("x<a", "unable to parse requirement: values[0]: Invalid value: \"a\": "
                "for 'Gt', 'Lt' operators, the value must be an integer"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(text, words):
    with pytest.raises(labels.SelectorError) as caught:
        labels.parse(text)
    assert str(caught.value) == words


def test_bad_values_are_named():
    with pytest.raises(
        labels.SelectorError, match=r'^unable to parse requirement: values\[0\]\[a\]: Invalid value: "\$"'
    ):
        labels.parse("a=$")


@pytest.mark.parametrize(
    ("selector", "text", "is_match"),
    [
        (None, "", False),
        ({}, "", True),
        ({"matchLabels": {"b": "1", "a": "x"}}, "a=x,b=1", True),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}, "a in (x,y)", True),
        ({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}, "!a", False),
    ],
)
def test_selectors_from_objects(selector, text, is_match):
    made = labels.from_object(selector)
    assert str(made) == text
    assert made.matches({"a": "x", "b": "1"}) is is_match


def test_unknown_operators_are_named():
    with pytest.raises(labels.SelectorError, match=r'^"Like" is not a valid label selector operator$'):
        labels.from_object({"matchExpressions": [{"key": "a", "operator": "Like"}]})
