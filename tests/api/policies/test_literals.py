"""Object and JSONPatch literals of mutations, written as maps."""

import pytest

from knarr.api.policies import expressions, literals
from knarr.api.policies.running import Evaluation
from knarr.lang.cel import CompileError

CASES = {
    "Object{}": {},
    "Object{spec: Object.spec{replicas: 3, paused: false,}}": {"spec": {"replicas": 3, "paused": False}},
    'Object{metadata: Object.metadata{labels: {"a": "b, c: {d}"}}}': {"metadata": {"labels": {"a": "b, c: {d}"}}},
    "has(object.x) ? Object{a: 1} : Object{b: 'x'}": {"b": "x"},
    "Object{?a: optional.of(1), ?b: object.?b}": {"a": 1},
    "Object{list: [1, 2].map(x, Object.list{n: x > 1 ? 'two' : 'one'})}": {"list": [{"n": "one"}, {"n": "two"}]},
    "Object . spec {a: 1} // Object{}": {"a": 1},
    r"Object{a: r'\{', b: '''Object{c: 1}''', c: \"it's\"}".replace('\\"', '"'): {
        "a": "\\{",
        "b": "Object{c: 1}",
        "c": "it's",
    },
}


@pytest.mark.parametrize("text", CASES)
def test_objects(text: str) -> None:
    compiler = expressions.Compiler(has_params=False)
    found = compiler.compile(text, expressions.OBJECT)
    assert not found.error
    evaluation = Evaluation({"object": {}}, {}, lambda _: (True, ""))
    assert evaluation.evaluate(found) == CASES[text]


def test_patches() -> None:
    compiler = expressions.Compiler(has_params=False)
    text = "[JSONPatch{op: 'add', path: '/a', value: Object.a{b: [1]}}, JSONPatch{op: 'copy', path: '/b', from: '/a'}]"
    found = compiler.compile(text, expressions.PATCHES)
    made = Evaluation({}, {}, lambda _: (True, "")).evaluate(found)
    assert made == [{"op": "add", "path": "/a", "value": {"b": [1]}}, {"op": "copy", "path": "/b", "from": "/a"}]
    assert (
        compiler.compile("Object{}", expressions.PATCHES).error
        == "must evaluate to list(JSONPatch) but got map<dyn, dyn>"
    )
    with pytest.raises(CompileError, match="undefined field 'patch'"):
        literals.rewrite("JSONPatch{op: 'add', patch: '/a'}")


@pytest.mark.parametrize(
    ("text", "wrong", "right"),
    [
        ("Object{spec: Object.status{}}", "Object.status", "Object.spec"),
        ("Object{spec: Object.spec{a: [Object.spec.b{}]}}", "Object.spec.b", "Object.spec.a"),
        ("Object{spec: Object{}}", "Object", "Object.spec"),
    ],
)
def test_literals_stand_where_their_names_say(text: str, wrong: str, right: str) -> None:
    assert literals.rewrite(text).mismatch.startswith(
        f'type mismatch: unexpected type name "{wrong}", expected "{right}"'
    )
