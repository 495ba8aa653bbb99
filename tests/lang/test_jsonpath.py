from typing import Any

import pytest

from knarr.lang import jsonpath

POD = {
    "metadata": {"name": "a", "labels": {"app.io/x": "y"}},
    "spec": {"containers": [{"name": "one", "ports": [1, 2]}, {"name": "two"}]},
    "status": {
        "conditions": [{"type": "Ready", "status": "True", "n": 3}, {"type": "Other", "status": "False", "n": 5}]
    },
}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (".metadata.name", ["a"]),
        ("$.metadata.name", ["a"]),
        (".metadata.labels['app.io/x']", ["y"]),
        (".metadata.labels.app\\.io/x", ["y"]),
        (".spec.containers[0].name", ["one"]),
        (".spec.containers[-1].name", ["two"]),
        (".spec.containers[*].name", ["one", "two"]),
        (".spec.containers[0:1].name", ["one"]),
        (".spec.containers[0,1].name", ["one", "two"]),
        ('.status.conditions[?(@.type=="Ready")].status', ["True"]),
        (".status.conditions[?(@.type=='Other')].status", ["False"]),
        (".status.conditions[?(@.n>3)].type", ["Other"]),
        (".status.conditions[?(@.n)].type", ["Ready", "Other"]),
        ("..name", ["a", "one", "two"]),
        (".spec.nothing.there", []),
        (".spec.containers[7].name", []),
        (".metadata['name','labels']", ["a", {"app.io/x": "y"}]),
    ],
)
def test_finds(text: str, found: list[Any]) -> None:
    assert jsonpath.parse(text).find(POD) == found


@pytest.mark.parametrize("text", [".a[", ".a[x]", ".a[?(@.b==)]", ".a{b", ".a[?(@.b==c)]"])
def test_refuses(text: str) -> None:
    with pytest.raises(jsonpath.JsonPathError):
        jsonpath.parse(text)
