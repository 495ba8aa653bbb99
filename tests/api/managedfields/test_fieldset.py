"""The set algebra against plain sets of paths."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api.managedfields import fieldset
from knarr.api.managedfields.compare import compare, whole
from knarr.api.schema import Type

PATHS = st.sets(st.lists(st.sampled_from(["f:a", "f:b", 'v:"x"']), min_size=1, max_size=3).map(tuple), max_size=8)


def to_fields(paths):
    root = {}
    for path in paths:
        node = root
        for element in path:
            node = node.setdefault(element, {})
        node["."] = {}
    return {element: canonical(node) for element, node in root.items()}


def canonical(node):
    if set(node) == {"."}:
        return {}
    return {element: canonical(below) if element != "." else {} for element, below in node.items()}


def to_paths(fields):
    return set(fieldset.paths(fields))


@given(PATHS, PATHS)
def test_algebra(one, two):
    left, right = to_fields(one), to_fields(two)
    assert to_paths(left) == one
    assert to_paths(fieldset.union(left, right)) == one | two
    assert to_paths(fieldset.difference(left, right)) == one - two
    assert to_paths(fieldset.intersection(left, right)) == one & two
    below = {path for path in one if any(path[: len(other)] == other for other in two)}
    assert to_paths(fieldset.difference_recursive(left, right)) == one - below
    assert (to_fields(one), to_fields(two)) == (left, right)
    assert fieldset.is_well_formed(left)


@pytest.mark.parametrize(
    ("element", "text"),
    [
        ("f:spec", ".spec"),
        ('k:{"containerPort":80,"protocol":"TCP"}', '[containerPort=80,protocol="TCP"]'),
        ('v:"a"', '[="a"]'),
        ("i:3", "[3]"),
    ],
)
def test_paths_print_as_upstreams(element, text):
    assert fieldset.format_path((element,)) == text


@pytest.mark.parametrize("bad", [[], {"x": {}}, {"k:1": {}}, {"v:{": {}}, {"f:a": []}, {".": {"f:a": {}}}, {"q:a": {}}])
def test_foreign_sets_are_checked(bad):
    assert not fieldset.is_well_formed(bad)


JSON = st.recursive(
    st.integers(0, 2), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)
OBJECTS = st.dictionaries(st.sampled_from("abc"), JSON, max_size=3)


@given(OBJECTS, OBJECTS)
def test_comparing_finds_exactly_the_differences(old, new):
    shape = Type("any")
    found = compare(old, new, shape)
    assert bool(found) == (old != new)
    assert to_paths(found.changed) <= to_paths(whole(new, shape))
    assert to_paths(found.removed) <= to_paths(whole(old, shape))
    assert to_paths(found.changed) & to_paths(whole(old, shape)) <= to_paths(whole(new, shape))
