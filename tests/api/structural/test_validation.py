"""Values against schemas: (schema, value, what is said)."""

from typing import Any

import pytest

from knarr.api.structural import Validator

SPEC = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2},
        "ratio": {"type": "number", "exclusiveMinimum": True, "minimum": 0},
        "name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-z]+$"},
        "mode": {"type": "string", "enum": ["a", "b"]},
        "level": {"type": "integer", "enum": [1, 2]},
        "when": {"type": "string", "format": "date-time"},
        "address": {"type": "string", "format": "ipv4"},
        "odd": {"type": "string", "format": "not-known"},
        "tags": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
        "labels": {"type": "object", "minProperties": 1, "maxProperties": 1, "additionalProperties": {"type": "string"}},
        "port": {"x-kubernetes-int-or-string": True},
        "maybe": {"type": "string", "nullable": True},
        "one": {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}},
                "oneOf": [{"required": ["x"]}, {"required": ["y"]}]},
        "any": {"type": "object", "properties": {"x": {"type": "integer"}}, "anyOf": [{"required": ["x"]}, {"required": ["y"]}]},
        "all": {"type": "integer", "allOf": [{"minimum": 3}, {"maximum": 5}]},
        "not": {"type": "string", "not": {"enum": ["bad"]}},
    },
}  # fmt: skip
ROOT = Validator({"type": "object", "properties": {"spec": SPEC}})


def say(spec: Any, old: Any = None) -> list[str]:
    found = ROOT.validate({"spec": spec}, "", *([{"spec": old}] if old is not None else []))
    return [str(error) for error in found]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"ratio": 0.5, "name": "abc", "mode": "b", "level": 2, "tags": ["a"], "labels": {"a": "b"}, "maybe": None}, []),
        ({"when": "2020-02-29T01:02:03.5Z", "address": "1.2.3.4", "odd": "x", "port": 80, "one": {"x": 1}, "all": 4}, []),
        ({"port": "http", "any": {"x": 1}, "not": "good", "size": 4.0}, []),
        ({"size": "2"}, ['spec.size: Invalid value: "string": spec.size in body must be of type integer: "string"']),
        ({"size": True}, ['spec.size: Invalid value: "boolean": spec.size in body must be of type integer: "boolean"']),
        ({"size": None}, ['spec.size: Invalid value: "null": spec.size in body must be of type integer: "null"']),
        ({"size": 12}, ["spec.size: Invalid value: 12: spec.size in body should be less than or equal to 10"]),
        ({"size": 0}, ["spec.size: Invalid value: 0: spec.size in body should be greater than or equal to 1"]),
        ({"size": 3}, ["spec.size: Invalid value: 3: spec.size in body should be a multiple of 2"]),
        ({"ratio": 0}, ["spec.ratio: Invalid value: 0: spec.ratio in body should be greater than 0"]),
        ({"name": "A1"}, ['spec.name: Invalid value: "A1": spec.name in body should match \'^[a-z]+$\'']),
        ({"name": "a"}, ['spec.name: Invalid value: "a": spec.name in body should be at least 2 chars long']),
        ({"name": "abcde"}, ["spec.name: Too long: may not be more than 4 bytes"]),
        ({"mode": "c"}, ['spec.mode: Unsupported value: "c": supported values: "a", "b"']),
        ({"level": 3}, ['spec.level: Unsupported value: 3: supported values: "1", "2"']),
        ({"when": "now"}, ['spec.when: Invalid value: "now": spec.when in body must be of type date-time: "now"']),
        ({"address": "::1"}, ['spec.address: Invalid value: "::1": spec.address in body must be of type ipv4: "::1"']),
        ({"tags": []}, ["spec.tags: Invalid value: 0: spec.tags in body should have at least 1 items"]),
        ({"tags": ["a", "b", "c"]}, ["spec.tags: Too many: 3: must have at most 2 items"]),
        ({"tags": [1]}, ['spec.tags[0]: Invalid value: "integer": spec.tags[0] in body must be of type string: "integer"']),
        ({"labels": {"a": 1}}, ['spec.labels.a: Invalid value: "integer": spec.labels.a in body must be of type string: "integer"']),
        ({"port": True}, ['spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"']),
        ({"one": {"x": 1, "y": 2}},
         ['<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found 2 valid alternatives']),
        ({"one": {}},
         ['<nil>: Invalid value: "": "spec.one" must validate one and only one schema (oneOf). Found none valid',
          "spec.one.x: Required value"]),
        ({"any": {}},
         ['<nil>: Invalid value: "": "spec.any" must validate at least one schema (anyOf)', "spec.any.x: Required value"]),
        ({"all": 6}, ["spec.all: Invalid value: 6: spec.all in body should be less than or equal to 5",
                      '<nil>: Invalid value: "": "spec.all" must validate all the schemas (allOf)']),
        ({"not": "bad"}, ['<nil>: Invalid value: "": "spec.not" must not validate the schema (not)']),
    ],
)  # fmt: skip
def test_says(more: dict[str, Any], said: list[str]) -> None:
    assert say({"size": 2, **more}) == said


def test_what_is_missing() -> None:
    assert say({}) == ["spec.size: Required value"]


def test_what_did_not_change_is_not_judged() -> None:
    assert say({"size": 3, "mode": "a"}, {"size": 3, "mode": "b"}) == []
    assert say({"size": 5}, {"size": 3}) == ["spec.size: Invalid value: 5: spec.size in body should be a multiple of 2"]
    assert say({"size": 3}) != []


def test_elements_of_map_lists_are_compared_by_their_keys() -> None:
    items = {"type": "object", "properties": {"name": {"type": "string"}, "n": {"type": "integer", "maximum": 1}}}
    keyed = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": items}
    old, new = [{"name": "a", "n": 5}], [{"name": "b", "n": 0}, {"name": "a", "n": 5}]
    assert Validator(keyed).validate(new, "l", old) == []
    assert len(Validator({"type": "array", "items": items}).validate(new, "l", old)) == 1


def test_hostile_patterns_take_no_time() -> None:
    assert len(Validator({"type": "string", "pattern": "^(a+)+$"}).validate("a" * 50_000 + "b", "x")) == 1
