"""Ownership of a number of replicas, between the object that has it and its scale.

Who applies a scale competes with the owners of the object's replicas: those are shown as owners of the scale, and what becomes
of them is written back.

Source: ScaleHandler in k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from knarr.api.managedfields import entries
from knarr.api.managedfields.entries import UPDATE, Owned, Owner, Owners
from knarr.api.managedfields.fieldset import FieldSet, difference, intersection

VERSION = "autoscaling/v1"
_REPLICAS: FieldSet = {"f:spec": {"f:replicas": {}}}

Entries = list[dict[str, Any]]


def to_scale(listed: Entries | None, path: Sequence[str]) -> Entries:
    """Return the managedFields of a scale.

    Args:
        listed: Those of the object.
        path: Where the object has its replicas: ("spec", "replicas").
    """
    place = _place(path)
    owners = entries.decode(listed, trusted=True) or {}
    return entries.encode(
        {
            _in_scale(owner): Owned(_REPLICAS, VERSION, owned.time)
            for owner, owned in owners.items()
            if intersection(owned.fields, place)
        }
    )


def to_parent(listed: Entries | None, scale: Entries | None, path: Sequence[str], api_version: str) -> Entries:
    """Return the managedFields of an object after its scale was applied.

    Args:
        listed: Those of the object before.
        scale: Those of the scale afterwards.
        path: Where the object has its replicas.
        api_version: The object's version, in which new owners are noted.
    """
    place = _place(path)
    left = entries.decode(scale, trusted=True) or {}
    result: Owners = {}
    for owner, owned in (entries.decode(listed, trusted=True) or {}).items():
        if not intersection(owned.fields, place) or left.pop(_in_scale(owner), None) is not None:
            result[owner] = owned
        else:
            fields = difference(owned.fields, place)
            if fields:
                result[owner] = replace(owned, fields=fields)
    for owner, owned in left.items():
        if intersection(owned.fields, _REPLICAS):
            version = api_version if owner.operation == UPDATE else ""
            result[replace(owner, api_version=version)] = Owned(place, api_version, owned.time)
    return entries.encode(result)


def _place(path: Sequence[str]) -> FieldSet:
    node: FieldSet = {}
    for name in reversed(path):
        node = {f"f:{name}": node}
    return node


def _in_scale(owner: Owner) -> Owner:
    return replace(owner, api_version=VERSION) if owner.operation == UPDATE else owner
