"""RFC 7386, appendix A and the walls around it."""

import copy

import pytest

from knarr.api import errors
from knarr.api.patch import merge_patch

CASES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ({"a": 1}, {"a": {"b": None}}, {"a": {}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), CASES)
def test_cases(original, patch, result):
    before = copy.deepcopy((original, patch))
    assert merge_patch(original, patch) == result
    assert (original, patch) == before


def test_unchanged_parts_are_shared():
    original = {"spec": {"a": 1}, "status": {}}
    assert merge_patch(original, {"status": {"x": 1}})["spec"] is original["spec"]


@pytest.mark.parametrize("patch", [[], "x", 1, None])
def test_a_patch_is_an_object(patch):
    with pytest.raises(errors.BadRequest):
        merge_patch({}, patch)
