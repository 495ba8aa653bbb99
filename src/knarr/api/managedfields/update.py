"""Ownership after an ordinary write: who changed a field owns it, and nobody else does any more.

Runs on every write, hence the care: an object in which nothing changed keeps its entries untouched, and of the owners only
those who had a part in the change are rewritten.

Source: Update in sigs.k8s.io/structured-merge-diff/v6/merge/update.go and the managers in
k8s.io/apimachinery/pkg/util/managedfields/internal (v1.37).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from knarr.api.managedfields import entries
from knarr.api.managedfields.compare import Comparison, compare
from knarr.api.managedfields.entries import UPDATE, Owned, Owner, Owners
from knarr.api.managedfields.fieldset import FieldSet, difference, sort, union
from knarr.api.managedfields.reset import BOOKKEEPING
from knarr.api.managedfields.values import empty
from knarr.api.schema.types import Type

Object = dict[str, Any]
Convert = Callable[[Object, str], tuple[Object, Type] | None]
"""Brings an object into another version: `(object, apiVersion) -> (converted, its schema)`, None if that is not served."""


def update(
    live: Object | None,
    new: Object,
    *,
    manager: str,
    definition: Type,
    api_version: str,
    now: datetime | str,
    subresource: str = "",
    reset: FieldSet = BOOKKEEPING,
    convert: Convert | None = None,
) -> Object:
    """Record what a create, update or patch other than apply changed.

    Args:
        live: The object before, with its managedFields; None on create.
        new: The object after, normalized; its managedFields are the requester's, and honoured as upstream does.
        manager: Who writes; see `entries.manager_name`.
        definition: The schema of the kind.
        api_version: The version of the request, such as "apps/v1".
        now: The time of the write.
        subresource: Such as "status"; "" for the object itself.
        reset: Fields that this endpoint does not change, from `reset.fields`.
        convert: For owners that wrote through another version; without it their paths are taken as this version's.

    Returns:
        `new` with its `metadata.managedFields`; neither argument is changed.
    """
    before: Object = live if live is not None else empty(definition)
    meta_before, meta = before.get("metadata") or {}, new.get("metadata") or {}
    wanted, had = meta.get("managedFields"), meta_before.get("managedFields")
    owners: Owners | None = None
    listed = had
    if wanted and not subresource and wanted != had:
        owners = {} if entries.is_reset(wanted) else entries.decode(wanted)
        if owners is not None:
            listed = wanted if owners else None
    if not listed and live is not None:
        return _with_entries(new, meta, None)  # as upstream: who has no owners gets none by updates
    difference_found = compare(before, new, definition, reset)
    if not difference_found:
        return _with_entries(new, meta, entries.encode(owners) if owners else listed)
    if not owners:
        owners = entries.decode(listed, trusted=True) or {}
    owners = record(owners, difference_found, before, new, api_version=api_version, reset=reset, convert=convert)
    if difference_found.changed:
        me = entries.owner_of(manager, UPDATE, api_version, subresource)
        mine = owners.get(me)
        fields = union(difference_found.changed, mine.fields) if mine else difference_found.changed
        owners[me] = Owned(sort(fields), api_version, format_time(now))
    return _with_entries(new, meta, entries.encode(entries.cap(owners)))


def record(
    owners: Owners,
    found: Comparison,
    before: Object,
    after: Object,
    *,
    api_version: str,
    reset: FieldSet,
    convert: Convert | None,
    keep: Owner | None = None,
) -> Owners:
    """Return the owners without what changed or went; those left with nothing are gone.

    Args:
        owners: The owners so far.
        found: What changed, in the version of the request.
        before: The object before.
        after: The object after.
        api_version: The version of the request.
        reset: As for `update`.
        convert: As for `update`.
        keep: An owner whose fields stay as they are.
    """
    comparisons: dict[str, Comparison | None] = {api_version: found}
    result: Owners = {}
    for owner, owned in owners.items():
        if owner == keep:
            result[owner] = owned
            continue
        version = owned.api_version
        if version not in comparisons:
            comparisons[version] = found if convert is None else _compare_as(version, before, after, reset, convert)
        there = comparisons[version]
        if there is None:  # that version is served no more: its owners are forgotten
            continue
        fields = difference(difference(owned.fields, there.changed), there.removed)
        if fields:
            result[owner] = owned if fields == owned.fields else replace(owned, fields=fields)
    return result


def _compare_as(version: str, before: Object, after: Object, reset: FieldSet, convert: Convert) -> Comparison | None:
    old, new = convert(before, version), convert(after, version)
    return compare(old[0], new[0], new[1], reset) if old and new else None


def format_time(now: datetime | str) -> str:
    """Return a time as managedFields have it."""
    return now if isinstance(now, str) else now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _with_entries(obj: Object, meta: Object, listed: list[Any] | None) -> Object:
    """Return the object with these managedFields, or without."""
    if listed:
        return {**obj, "metadata": {**meta, "managedFields": listed}}
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}
