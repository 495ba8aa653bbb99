"""The columns that a definition asks for in tables of its objects.

Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource/tableconvertor/tableconvertor.go (v1.37).
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from knarr.api.scheme import Resource
from knarr.apiserver.customresources.catalog import Catalog
from knarr.apiserver.customresources.definitions import Version
from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import NAME, Cells, Column, Printer
from knarr.lang import jsonpath

Object = Mapping[str, Any]

_CREATED = (
    "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set "
    "in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and "
    "is in UTC."
)
_DEFAULT: dict[str, Any] = {
    "name": "Age",
    "type": "date",
    "description": _CREATED,
    "jsonPath": ".metadata.creationTimestamp",
}


def printer_of(catalog: Catalog, resource: Resource) -> Printer | None:
    """Return how a custom kind is shown; None for others."""
    version = catalog.of(resource)
    return None if version is None else printer(version)


@lru_cache(256)
def printer(version: Version) -> Printer:
    """Return how the objects of a version are shown."""
    asked: list[dict[str, Any]] = version.columns or [_DEFAULT]
    paths = [(jsonpath.parse(one["jsonPath"]), one["type"]) for one in asked]
    columns = tuple(
        Column(
            one["name"],
            one["type"],
            one.get("format") or "",
            one.get("priority") or 0,
            one.get("description") or f"Custom resource definition column (in JSONPath format): {one['jsonPath']}",
        )
        for one in asked
    )

    def to_cells(obj: Object, now: datetime) -> Cells:
        return [cells.name(obj), *(_cell(path.find(obj), kind, now) for path, kind in paths)]

    return Printer((NAME, *columns), to_cells)


def _cell(found: list[Any], kind: str, now: datetime) -> Any:
    if not found:
        return None
    value = found[0]
    if kind == "string":
        return " ".join(jsonpath.to_text(one) for one in found)
    if value is None:
        return None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer":
        return int(value) if is_number else None
    if kind == "number":
        return float(value) if is_number else None
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "date":
        if not isinstance(value, str):
            return None
        return cells.since(value, now) if cells.parse_time(value) is not None else cells.INVALID
    return None
