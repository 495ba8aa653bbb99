"""Pruning, defaults, lists that are sets and maps, types for field ownership, OpenAPI: walks along a schema."""

from copy import deepcopy
from typing import Any

import pytest

from knarr.api.managedfields.values import complaints, field_set
from knarr.api.structural import compile_schema, listtypes, prune, publish, set_defaults, to_type

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "default": 3},
                "color": {"type": "string", "nullable": True, "default": "red"},
                "plain": {"type": "string"},
                "nested": {"type": "object", "default": {}, "properties": {"deep": {"type": "boolean", "default": True}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                         "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
                "map": {"type": "object",
                        "additionalProperties": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}},
                "list": {"type": "array", "items": {"type": "object", "properties": {"x": {"type": "integer", "default": 1}}}},
                "template": {"type": "object", "x-kubernetes-embedded-resource": True,
                             "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}},
                "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
                          "items": {"type": "object", "required": ["port"],
                                    "properties": {"port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}}}},
                "names": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
                "either": {"x-kubernetes-int-or-string": True},
                "atom": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": {"type": "string"}}},
            },
        }
    },
}  # fmt: skip
NODE = compile_schema(SCHEMA)
HEAD = {"apiVersion": "e.com/v1", "kind": "K", "metadata": {"name": "a", "labels": {"x": "y"}}}


@pytest.mark.parametrize(
    ("spec", "kept", "gone"),
    [
        ({"size": 1, "odd": 2}, {"size": 1}, ["spec.odd"]),
        ({"free": {"a": {"b": 1}, "known": {"a": "", "z": 1}}}, {"free": {"a": {"b": 1}, "known": {"a": ""}}}, ["spec.free.known.z"]),
        ({"map": {"k": {"x": 1, "y": 2}}}, {"map": {"k": {"x": 1}}}, ["spec.map.k.y"]),
        ({"list": [{"y": 1}, {"x": 2}]}, {"list": [{}, {"x": 2}]}, ["spec.list[0].y"]),
        ({"template": {"kind": "Pod", "metadata": {"any": 1}, "spec": {"a": 1}, "b": 1}},
         {"template": {"kind": "Pod", "metadata": {"any": 1}, "spec": {"a": 1}}}, ["spec.template.b"]),
    ],
)  # fmt: skip
def test_pruning(spec: Any, kept: Any, gone: list[str]) -> None:
    obj = {**deepcopy(HEAD), "spec": deepcopy(spec)}
    assert prune(obj, NODE) == gone
    assert obj == {**HEAD, "spec": kept}


@pytest.mark.parametrize(
    ("spec", "set_"),
    [
        ({}, {"size": 3, "color": "red", "nested": {"deep": True}}),
        ({"size": None, "color": None, "plain": None}, {"size": 3, "color": None, "nested": {"deep": True}}),
        ({"size": 0, "color": "", "nested": {"deep": False}}, {"size": 0, "color": "", "nested": {"deep": False}}),
        ({"size": 0, "color": "", "nested": {}, "map": {"a": {}}, "list": [{}]},
         {"size": 0, "color": "", "nested": {"deep": True}, "map": {"a": {"x": 1}}, "list": [{"x": 1}]}),
    ],
)  # fmt: skip
def test_defaults(spec: Any, set_: Any) -> None:
    obj = {"spec": deepcopy(spec)}
    set_defaults(obj, NODE)
    assert obj == {"spec": set_}


def test_defaults_are_no_shared_values() -> None:
    one: dict[str, Any] = {"spec": {}}
    two: dict[str, Any] = {"spec": {}}
    set_defaults(one, NODE)
    one["spec"]["nested"]["deep"] = "changed"
    set_defaults(two, NODE)
    assert two["spec"]["nested"] == {"deep": True}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"names": ["a", "b"], "ports": [{"port": 1, "protocol": "TCP"}, {"port": 1, "protocol": "UDP"}]}, []),
        ({"names": ["a", "a"]}, ['spec.names[1]: Duplicate value: "a"']),
        (
            {"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]},
            ['spec.ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}'],
        ),
    ],
)
def test_lists_have_nothing_twice(spec: Any, said: list[str]) -> None:
    assert [str(error) for error in listtypes.check_lists({"spec": spec}, NODE)] == said


def test_objects_within_objects_need_a_kind() -> None:
    found = listtypes.check_embedded({"spec": {"template": {"metadata": {"labels": {"a": "-"}}}}}, NODE)
    assert [str(error).partition(": a valid")[0] for error in found] == [
        "spec.template.apiVersion: Required value: must not be empty",
        "spec.template.kind: Required value: must not be empty",
        'spec.template.metadata.labels: Invalid value: "-"',
    ]


def test_types_say_who_owns_what() -> None:
    spec = {"size": 1, "ports": [{"port": 1}], "names": ["a"], "list": [{"x": 1}], "atom": {"a": "b"}, "either": "x"}
    fields = field_set({"spec": spec}, to_type(NODE))["f:spec"]
    assert fields == {
        "f:size": {},
        "f:ports": {'k:{"port":1,"protocol":"TCP"}': {".": {}, "f:port": {}}},
        "f:names": {'v:"a"': {}},
        "f:list": {},
        "f:atom": {},
        "f:either": {},
    }
    assert complaints({"spec": {"odd": 1, "size": "x"}}, to_type(NODE)) == [
        ".spec.odd: field not declared in schema",
        ".spec.size: expected numeric (int or float), got string",
    ]


def test_old_clients_are_told_no_field_where_any_is_allowed() -> None:
    any_field = {"x-kubernetes-preserve-unknown-fields": True}
    free = {"type": "object", "description": "d", "properties": {"a": {"type": "string"}}, **any_field}
    published = publish.Published("e.com", "v1", "K", "KList", "ks", "com.e.v1.K", free)
    told = published.v2()["com.e.v1.K"]
    assert told == {
        "type": "object",
        "x-kubernetes-group-version-kind": [{"group": "e.com", "kind": "K", "version": "v1"}],
    }
    assert set(published.v3()["com.e.v1.K"]["properties"]) == {"a", "apiVersion", "kind", "metadata"}
    inner = {"type": "object", "x-kubernetes-embedded-resource": True, **any_field}
    holder = {"type": "object", "properties": {"inner": inner}}
    published = publish.Published("e.com", "v1", "K", "KList", "ks", "com.e.v1.K", holder)
    assert "properties" not in published.v2()["com.e.v1.K"]["properties"]["inner"]
    assert "metadata" in published.v3()["com.e.v1.K"]["properties"]["inner"]["properties"]


def test_what_is_published() -> None:
    published = publish.Published("e.com", "v1", "K", "KList", "ks", "com.e.v1.K", SCHEMA)
    v3, v2 = published.v3(), published.v2()
    assert set(v3) == {"com.e.v1.K", "com.e.v1.KList"}
    properties = v3["com.e.v1.K"]["properties"]
    assert set(properties) == {"apiVersion", "kind", "metadata", "spec"}
    assert "metadata" in properties["spec"]["properties"]["template"]["properties"]
    assert v3["com.e.v1.K"]["x-kubernetes-group-version-kind"] == [{"group": "e.com", "kind": "K", "version": "v1"}]
    old = v2["com.e.v1.K"]["properties"]["spec"]["properties"]
    assert "type" not in old["color"]
    assert "nullable" not in old["color"]
    assert old["template"]["required"] == ["kind", "apiVersion"]
    assert old["free"] == {"x-kubernetes-preserve-unknown-fields": True}
