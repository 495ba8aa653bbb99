"""Whatever part of an object is missing or empty, validation says so and does not fail."""

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from knarr.api import validation
from tests.api.validation.test_cases import CASES, complete, kind_of

_QUANTITIES = {
    "requests", "limits", "capacity", "allocatable", "hard", "used", "overhead", "max", "min", "default",
    "defaultRequest", "maxLimitRequestRatio", "sizeLimit", "divisor", "allocatedResources", "podFixed",
}  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    children: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield (*path, key)
        yield from places(child, (*path, key))


def variants(obj: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for path in places(obj):
        for empty in (True, False):
            changed = copy.deepcopy(obj)
            parent: Any = changed
            for step in path[:-1]:
                parent = parent[step]
            if not empty:
                del parent[path[-1]]
            elif not _QUANTITIES & {str(step) for step in path[-2:]}:
                parent[path[-1]] = type(parent[path[-1]])()
            yield changed


def objects() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for source in sorted(CASES.glob("*.input.yaml")):
        for document in yaml.safe_load_all(source.read_text()):
            if document and "object" in document:
                found.append((f"{source.name.split('.')[0]}: {document['case']}", complete(document["object"])))
    return found


@pytest.mark.parametrize(("name", "obj"), objects(), ids=lambda value: value if isinstance(value, str) else "")
def test_no_gap_is_too_much(name: str, obj: dict[str, Any]) -> None:
    kind = kind_of(obj)
    for changed in variants({key: value for key, value in obj.items() if key not in ("apiVersion", "kind")}):
        validation.validate_create(kind, changed)
        for subresource in ("", "status", "resize", "ephemeralcontainers", "finalize"):
            validation.validate_update(kind, changed, obj, subresource)
            validation.validate_update(kind, obj, changed, subresource)
