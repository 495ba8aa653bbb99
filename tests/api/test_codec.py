import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api import codec

PREFIX = "couldn't get version/kind; json parse error: "


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "unexpected end of JSON input"),
        (b'{"a":1', "unexpected end of JSON input"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"{a:1}", "invalid character 'a' looking for beginning of object key string"),
        (b"{'a':1}", r"invalid character '\'' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 2}', "invalid character '2' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":tru}', "invalid character '}' in literal true (expecting 'e')"),
        (b'{"a":01}', "invalid character '1' after object key:value pair"),
        (b'{"a":1.}', "invalid character '}' after decimal point in numeric literal"),
        (b'{"a":-}', "invalid character '}' in numeric literal"),
        (b'{"a":1e}', "invalid character '}' in exponent of numeric literal"),
        (b'{"a":"x\ny"}', r"invalid character '\n' in string literal"),
        (b'{"a":"\\x"}', "invalid character 'x' in string escape code"),
        (b'{"a":"\\u12g"}', r"invalid character 'g' in \u hexadecimal character escape"),
        (b'{"a":1} x', "invalid character 'x' after top-level value"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b'{"kind":5}', "json: cannot unmarshal number into Go struct field .kind of type string"),
        (b'{"a":[1E400]}', "json: cannot unmarshal number 1E400 into Go value of type float64"),
        (b"[" * 100_000, "exceeded max depth"),
        (b'{"a":' * 100_000, "exceeded max depth"),
    ],
)
def test_broken_json_in_the_words_of_go(body, words):
    with pytest.raises(codec.BadBody) as caught:
        codec.decode(body)
    assert str(caught.value) == PREFIX + words


@given(st.binary(max_size=40) | st.text('{}[]":,0123456789eE.-+truefalsn\\u \n', max_size=40).map(str.encode))
def test_json_is_refused_exactly_when_it_is_wrong(body):
    try:
        expected = json.loads(body.decode(errors="replace"), parse_constant=_refuse, parse_float=_finite)
    except ValueError:
        with pytest.raises(codec.BadBody):
            codec.decode_value(body)
        return
    if expected == expected and "\\u" not in body.decode(errors="replace"):
        assert codec.decode_value(body) == expected


def _finite(text):
    return float(text) if math.isfinite(float(text)) else _refuse(text)


def _refuse(text):
    raise ValueError(text)


def test_what_is_no_unicode_is_replaced():
    assert codec.decode(b'{"a":"\xff"}') == {"a": "\N{REPLACEMENT CHARACTER}"}
    assert codec.decode(b'{"a":"\\ud800"}') == {"a": "\N{REPLACEMENT CHARACTER}"}


def test_duplicates_are_found_with_their_paths():
    body = b'{"kind":"D","spec":{"replicas":1,"replicas":2,"l":[{"a":1,"a":1}]},"kind":"D"}'
    assert codec.find_duplicates(body, codec.JSON, codec.decode(body)) == (
        'duplicate field "kind"', 'duplicate field "spec.replicas"', 'duplicate field "spec.l[0].a"',
    )  # fmt: skip
    assert codec.find_duplicates(b'{ "a": 1 }', codec.JSON, {"a": 1}) == ()


YAML = b"""
yes_word: yes
date: 2020-01-01
clock: 1:30
float: 1e3
octal: 0644
hexadecimal: 0x1f
text: "yes"
nothing: ~
base: &b {a: 1, c: 2}
merged: {<<: *b, c: 3}
5: x
version: v1.2
"""


def test_yaml_means_what_it_means_to_go():
    assert codec.decode(YAML, codec.YAML) == {
        "yes_word": True, "date": "2020-01-01", "clock": "1:30", "float": 1000, "octal": 420, "hexadecimal": 31,
        "text": "yes", "nothing": None, "base": {"a": 1, "c": 2}, "merged": {"a": 1, "c": 3}, "5": "x", "version": "v1.2",
    }  # fmt: skip
    assert codec.find_duplicates(b"a: 1\nb: 2\na: 3\n", codec.YAML, {}) == ('line 3: key "a" already set in map',)


BOMB = b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"%c: &%c [%s]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(9)
)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (BOMB, "yaml: document contains excessive aliasing"),
        (b"a: b: c", "yaml: line 1: mapping values are not allowed in this context"),
        (b"- " * 100_000, "yaml: exceeded max depth"),
        (b"[" * 100_000, "yaml: line 1: exceeded maximum nesting depth"),
        (b"{a: " * 100_000, "yaml: exceeded max depth"),
        (b"a: &a [*a]", "yaml: exceeded max depth"),
        (b"a: .inf", "json: unsupported value: .inf"),
        (b"? [a]\n: 1", "yaml: line 1: invalid map key"),
    ],
)
def test_yaml_that_is_wrong_or_hostile(body, words):
    with pytest.raises(codec.BadBody) as caught:
        codec.decode(body, codec.YAML)
    assert str(caught.value) == f"error converting YAML to JSON: {words}"


def test_stored_objects_begin_with_an_empty_revision():
    value = codec.encode(
        {"metadata": {"name": "x", "resourceVersion": "5"}, "spec": {}, "apiVersion": "v1", "kind": "Pod"}
    )
    assert value == b'{"kind":"Pod","apiVersion":"v1","metadata":{"resourceVersion":"","name":"x"},"spec":{}}'
    tricky = codec.encode({"kind": '"resourceVersion":""', "apiVersion": "v1", "metadata": {}})
    assert tricky.index(b'"resourceVersion":""') == tricky.index(b'"metadata":{') + len(b'"metadata":{')


@pytest.mark.parametrize("digits", [30, 400, 5000])
def test_endless_numbers_are_kept_or_refused(digits):
    try:
        obj = codec.decode(b'{"a":%b}' % (b"1" * digits))
    except codec.BadBody:
        return
    assert codec.decode_stored(codec.encode(obj))["a"] == obj["a"]


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"", "<empty>"),
        (b'{"kind":', '{"kind":'),
        (b"{" + b"x" * 40, "{" + "x" * 29 + " ..."),
        (b"hi", "6869"),
    ],
)
def test_unrecognized_bodies_are_quoted(body, shown):
    error = codec.unrecognized("Pod", body, "wrong")
    assert error.message == f"the object provided is unrecognized (must be of type Pod): wrong ({shown})"
