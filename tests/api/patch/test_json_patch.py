"""RFC 6902, and where upstream is more lenient or answers in its own way."""

import copy

import pytest

from knarr.api import errors
from knarr.api.patch import json_patch, merge_patch, strategic_merge_patch

DOCUMENT = {"a": {"b": [1, 2, 3], "c/d": {"~": "x"}}, "t": True, "n": None}

APPLIES = {
    "add a member": ([{"op": "add", "path": "/a/x", "value": 1}], ("a", "x"), 1),
    "add a null": ([{"op": "add", "path": "/x", "value": None}], ("x",), None),
    "add in the middle": ([{"op": "add", "path": "/a/b/1", "value": 9}], ("a", "b"), [1, 9, 2, 3]),
    "add at the end": ([{"op": "add", "path": "/a/b/-", "value": 9}], ("a", "b"), [1, 2, 3, 9]),
    "add before the end": ([{"op": "add", "path": "/a/b/-1", "value": 9}], ("a", "b"), [1, 2, 3, 9]),
    "remove an element": ([{"op": "remove", "path": "/a/b/0"}], ("a", "b"), [2, 3]),
    "remove the last": ([{"op": "remove", "path": "/a/b/-1"}], ("a", "b"), [1, 2]),
    "replace": ([{"op": "replace", "path": "/a/b/2", "value": 9}], ("a", "b"), [1, 2, 9]),
    "escapes": ([{"op": "replace", "path": "/a/c~1d/~0", "value": "y"}], ("a", "c/d", "~"), "y"),
    "move": ([{"op": "move", "from": "/a/b", "path": "/b"}], ("b",), [1, 2, 3]),
    "copy, then change one": (
        [{"op": "copy", "from": "/a/b", "path": "/b"}, {"op": "add", "path": "/a/b/-", "value": 4}],
        ("b",),
        [1, 2, 3],
    ),
    "test": ([{"op": "test", "path": "/a/b", "value": [1, 2, 3]}], ("t",), True),
    "test of a null": ([{"op": "test", "path": "/n", "value": None}], ("t",), True),
    "the value of an operation is not changed by the next": (
        [{"op": "add", "path": "/x", "value": {"y": []}}, {"op": "add", "path": "/x/y/-", "value": 1}],
        ("x", "y"),
        [1],
    ),
    "replace all": ([{"op": "replace", "path": "", "value": {"z": 1}}], ("z",), 1),
}


@pytest.mark.parametrize("name", APPLIES)
def test_applies(name):
    patch, place, expected = APPLIES[name]
    before, patch_before = copy.deepcopy(DOCUMENT), copy.deepcopy(patch)
    found = json_patch(DOCUMENT, patch)
    for key in place:
        found = found[key]
    assert found == expected
    assert (before, patch_before) == (DOCUMENT, patch)


FAILS = {
    "add below nothing": {"op": "add", "path": "/x/y", "value": 1},
    "add beyond the end": {"op": "add", "path": "/a/b/4", "value": 1},
    "add to the root": {"op": "add", "path": "", "value": {}},
    "no index": {"op": "add", "path": "/a/b/x", "value": 1},
    "below a scalar": {"op": "add", "path": "/t/x", "value": 1},
    "remove nothing": {"op": "remove", "path": "/x"},
    "replace nothing": {"op": "replace", "path": "/x", "value": 1},
    "replace all by a scalar": {"op": "replace", "path": "", "value": 1},
    "test fails": {"op": "test", "path": "/a/b/0", "value": 2},
    "true is not 1": {"op": "test", "path": "/t", "value": 1},
    "test of nothing": {"op": "test", "path": "/x", "value": None},
    "move from nowhere": {"op": "move", "from": "/x", "path": "/y"},
    "move without from": {"op": "move", "path": "/y"},
    "unknown operation": {"op": "jump", "path": "/a"},
    "no operation": {"path": "/a"},
    "operation of a wrong type": {"op": [], "path": "/a"},
    "path without slash": {"op": "remove", "path": "a"},
    "huge index": {"op": "remove", "path": "/a/b/" + "9" * 5000},
}


@pytest.mark.parametrize("name", FAILS)
def test_an_operation_that_does_not_apply_is_422(name):
    with pytest.raises(errors.Unprocessable) as caught:
        json_patch(DOCUMENT, [FAILS[name]])
    assert caught.value.to_status() == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": "the server rejected our request due to an error in our request",
        "reason": "Invalid",
        "details": {},
        "code": 422,
    }


@pytest.mark.parametrize("patch", [{}, "x", None, [1], [None]])
def test_what_is_no_list_of_operations_is_400(patch):
    with pytest.raises(errors.BadRequest, match="cannot unmarshal"):
        json_patch(DOCUMENT, patch)


def test_too_many_operations():
    operation = {"op": "test", "path": "/t", "value": True}
    assert json_patch(DOCUMENT, [operation] * 10_000) == DOCUMENT
    with pytest.raises(errors.RequestEntityTooLarge) as caught:
        json_patch(DOCUMENT, [operation] * 10_001)
    assert caught.value.message == "The allowed maximum operations in a JSON patch is 10000, got 10001"


def test_copies_that_double_the_document_are_stopped():
    bomb = [{"op": "add", "path": "/x", "value": "x" * 1000}]
    bomb += [{"op": "copy", "from": "", "path": f"/y{number}"} for number in range(30)]
    with pytest.raises(errors.Unprocessable):
        json_patch(DOCUMENT, bomb)


def test_copies_that_nest_the_document_without_end_are_stopped():
    nest = [{"op": "copy", "from": "", "path": "/a" * 2**power} for power in range(12)]
    with pytest.raises(errors.Unprocessable):
        json_patch({"x": 1}, nest)


def nested(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("apply", [merge_patch, lambda old, patch: strategic_merge_patch(old, patch, None)])
def test_patches_that_nest_too_deep_are_400(apply):
    with pytest.raises(errors.BadRequest):
        apply(nested(3000), nested(3000))
