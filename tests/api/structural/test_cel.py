"""CEL rules over objects: (object, old object, what is said), and what is wrong with rules themselves."""

from typing import Any

import pytest

from knarr.api.structural import celrules, compile_schema
from knarr.api.structural.cel import Rules
from knarr.api.structural.validation import MISSING
from knarr.api.validation.collector import Errors

ITEMS = {
    "type": "array",
    "maxItems": 10,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["id"],
    "items": {
        "type": "object",
        "required": ["id"],
        "x-kubernetes-validations": [{"rule": "self.n >= oldSelf.n", "message": "n only grows"}],
        "properties": {
            "id": {"type": "string", "maxLength": 5},
            "n": {"type": "integer"},
            "x-y": {"type": "string", "maxLength": 5, "x-kubernetes-validations": [{"rule": "self.startsWith('a')"}]},
        },
    },
}
SPEC = {
    "type": "object",
    "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "message": "min above max", "fieldPath": ".min", "reason": "FieldValueForbidden"},
        {"rule": "!has(self.mode) || self.mode != 'x'", "messageExpression": "'mode is ' + self.mode"},
        {"rule": "self.max == oldSelf.max", "message": "max is immutable"},
        {"rule": "oldSelf.hasValue() || self.min == 1", "optionalOldSelf": True, "message": "begins at 1"},
    ],
    "properties": {
        "min": {"type": "integer"},
        "max": {"type": "integer"},
        "mode": {"type": "string", "maxLength": 10},
        "ratio": {"type": "number", "x-kubernetes-validations": [{"rule": "self < 2.0"}]},
        "until": {"type": "string", "format": "date-time",
                  "x-kubernetes-validations": [{"rule": "self > timestamp('2020-01-01T00:00:00Z')"}]},
        "wait": {"type": "string", "format": "duration", "x-kubernetes-validations": [{"rule": "self <= duration('1h')"}]},
        "items": ITEMS,
    },
}  # fmt: skip
NAMED = {"rule": "self.metadata.name != 'bad'", "message": "bad name"}
RULES = Rules(compile_schema({"type": "object", "x-kubernetes-validations": [NAMED], "properties": {"spec": SPEC}}))


def say(spec: Any, old: Any = None, name: str = "a") -> list[str]:
    before = {"metadata": {"name": name}, "spec": old} if old is not None else MISSING
    return [str(error) for error in RULES.check({"metadata": {"name": name}, "spec": spec}, before)]


@pytest.mark.parametrize(
    ("spec", "old", "said"),
    [
        ({"min": 1, "max": 2}, None, []),
        ({"min": 2, "max": 3}, None, ['spec: Invalid value: "object": begins at 1']),
        ({"min": 2, "max": 3}, {"min": 1, "max": 3}, []),
        ({"min": 1, "max": 0}, None, ["spec.min: Forbidden: min above max"]),
        ({"min": 1, "max": 2, "mode": "x"}, None, ['spec: Invalid value: "object": mode is x']),
        ({"min": 1, "max": 3}, {"min": 1, "max": 2}, ['spec: Invalid value: "object": max is immutable']),
        ({"min": 1, "max": 2, "ratio": 1}, None, []),
        ({"min": 1, "max": 2, "ratio": 3}, None, ['spec.ratio: Invalid value: "number": failed rule: self < 2.0']),
        ({"min": 1, "max": 2, "until": "2030-01-01T00:00:00Z", "wait": "30m"}, None, []),
        ({"min": 1, "max": 2, "wait": "90m"}, None, ["spec.wait: Invalid value: \"string\": failed rule: self <= duration('1h')"]),
        ({"min": 1}, None, ["spec.min: Forbidden: no such key: max evaluating rule: min above max"]),
        ({"min": 1, "max": 2, "items": [{"id": "a", "x-y": "b"}]}, None,
         ["spec.items[0].x-y: Invalid value: \"string\": failed rule: self.startsWith('a')"]),
        ({"min": 1, "max": 2, "items": [{"id": "b", "n": 0}, {"id": "a", "n": 1}]}, {"min": 1, "max": 2, "items": [{"id": "a", "n": 2}]},
         ['spec.items[1]: Invalid value: "object": n only grows']),
        ({"min": 2, "max": 1, "mode": "y"}, {"min": 2, "max": 1, "mode": "y"}, []),
    ],
)  # fmt: skip
def test_says(spec: Any, old: Any, said: list[str]) -> None:
    assert say(spec, old) == said


def test_rules_at_the_root_see_the_name() -> None:
    assert say({"min": 1, "max": 2}, name="bad") == ['<nil>: Invalid value: "object": bad name']


def test_a_rule_without_end_ends() -> None:
    loops = "self.all(a, self.all(b, self.all(c, self.all(d, a + b + c + d >= 0))))"
    rules = Rules(
        compile_schema({"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [{"rule": loops}]})
    )
    found = [str(error) for error in rules.check(list(range(200)))]
    assert any("no further validation rules will be run due to call cost exceeds limit" in text for text in found)


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"rule": "self.z > 1"}, "compilation failed: ERROR: <input>:1:5: undefined field 'z'"),
        ({"rule": "self.a"}, "compilation failed: cel expression must evaluate to a bool"),
        ({"rule": " "}, "rule: Required value: rule is not specified"),
        ({"rule": "self.a > 1", "messageExpression": "self.a"},
         "messageExpression compilation failed: messageExpression must evaluate to a string"),
        ({"rule": "self.a > 1", "message": "a\nb"}, "message must not contain line breaks"),
        ({"rule": "self.a >\n1"}, "message must be specified if rule contains line breaks"),
        ({"rule": "self.a > 1", "reason": "Odd"}, 'reason: Unsupported value: "Odd"'),
        ({"rule": "self.a > 1", "fieldPath": ".b"}, 'fieldPath: Invalid value: ".b"'),
        ({"rule": "self.a > 1", "optionalOldSelf": True}, "may not be set if oldSelf is not used in rule"),
        ({"rule": "self.l.all(x, self.l.all(y, self.l.all(z, x + y == z)))"},
         "rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x"),
    ],
)  # fmt: skip
def test_bad_rules(rule: dict[str, Any], words: str) -> None:
    properties = {"a": {"type": "integer"}, "l": {"type": "array", "items": {"type": "string"}}}
    errors = Errors()
    celrules.check_rules(
        errors,
        compile_schema({"type": "object", "properties": properties, "x-kubernetes-validations": [rule]}),
        "schema",
    )
    assert any(words in str(error) for error in errors.found), errors.found


def test_old_values_are_unknown_within_lists_without_keys() -> None:
    items = {"type": "integer", "x-kubernetes-validations": [{"rule": "self > oldSelf"}]}
    errors = Errors()
    root = compile_schema({"type": "object", "properties": {"l": {"type": "array", "items": items}}})
    celrules.check_rules(errors, root, "schema")
    assert "uncorrelatable portion of the schema within schema.properties[l]" in str(errors.found[0])


def test_a_sound_schema_has_no_complaints() -> None:
    errors = Errors()
    celrules.check_rules(errors, compile_schema({"type": "object", "properties": {"spec": SPEC}}), "schema")
    assert errors.found == []
