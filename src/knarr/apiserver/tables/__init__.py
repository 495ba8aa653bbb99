"""Tables: objects as the rows that `kubectl get` prints, with the columns and texts of upstream's printers.

Each module holds the printers of related kinds; `table.py` says which kind has which. Kinds that have none, such as custom
resources without columns of their own, show name and age.

Source: pkg/printers (tablegenerator.go, internalversion/printers.go), meta/v1 Table (v1.37).
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from knarr.api.scheme import Resource
from knarr.apiserver.tables.cluster import PLAIN
from knarr.apiserver.tables.columns import Column, Printer
from knarr.apiserver.tables.table import PRINTERS

__all__ = ["Column", "Printer", "printer_of", "to_table"]

Object = dict[str, Any]

_PARTIAL = "PartialObjectMetadata"


def printer_of(group: str, kind: str) -> Printer:
    """Return how a kind is shown."""
    return PRINTERS.get((group, kind), PLAIN)


def to_table(
    resource: Resource,
    objects: Iterable[Object],
    *,
    now: datetime,
    metadata: Mapping[str, Any] | None = None,
    version: str = "v1",
    include: str = "Metadata",
    printer: Printer | None = None,
) -> Object:
    """Return a Table of objects.

    Args:
        resource: What they are.
        objects: Decoded, in the version of `resource`.
        now: What ages are counted to.
        metadata: The list's ListMeta; with one object and none given, the object's resourceVersion.
        version: The version of meta.k8s.io.
        include: What comes with each row: "None", "Metadata" or "Object".
        printer: How they are shown, where it is not by their kind, as for custom resources with columns of their own.
    """
    shown = printer or printer_of(resource.group, resource.kind)
    listed = list(objects)
    if not metadata and len(listed) == 1:
        metadata = _list_meta(listed[0])
    if shown.order is not None:
        listed.sort(key=shown.order)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{version}",
        "metadata": dict(metadata or {}),
        "columnDefinitions": [column.to_object() for column in shown.columns],
        "rows": [_row(obj, shown, now, version, include) for obj in listed],
    }


def _list_meta(obj: Object) -> Object:
    revision = (obj.get("metadata") or {}).get("resourceVersion")
    return {"resourceVersion": revision} if revision else {}


def _row(obj: Object, printer: Printer, now: datetime, version: str, include: str) -> Object:
    row: Object = {"cells": printer.cells(obj, now)}
    if printer.conditions is not None:
        conditions = printer.conditions(obj)
        if conditions:
            row["conditions"] = conditions
    if include == "Object":
        row["object"] = obj
    elif include == "Metadata":
        row["object"] = {
            "kind": _PARTIAL,
            "apiVersion": f"meta.k8s.io/{version}",
            "metadata": obj.get("metadata") or {},
        }
    else:
        row["object"] = None
    return row
