"""Server-side apply: a manager says which fields it wants and how; the server merges, and keeps book of who owns what.

An applier owns what it applies. A field that another owns with another value is a conflict unless forced; one that the applier
owned last time and no longer mentions goes away, unless another applier owns it too.

Source: Apply in sigs.k8s.io/structured-merge-diff/v6/merge/update.go and k8s.io/apimachinery/pkg/util/managedfields (v1.37).
"""

from dataclasses import replace
from datetime import datetime
from typing import Any

from knarr.api import errors
from knarr.api.managedfields import entries, lastapplied
from knarr.api.managedfields.compare import Comparison, compare
from knarr.api.managedfields.entries import APPLY, UPDATE, Owned, Owner, Owners
from knarr.api.managedfields.fieldset import (
    FieldSet,
    difference,
    difference_recursive,
    format_path,
    intersection,
    paths,
    sort,
    union,
)
from knarr.api.managedfields.reset import BOOKKEEPING
from knarr.api.managedfields.update import Convert, format_time, record
from knarr.api.managedfields.values import (
    complaints,
    empty,
    field_set,
    merge,
    with_named_parents,
    without,
    without_nulls,
)
from knarr.api.schema.types import Type

BEFORE_FIRST_APPLY = "before-first-apply"
KUBECTL = "kubectl"

Object = dict[str, Any]


def apply(
    live: Object | None,
    applied: Object,
    *,
    manager: str,
    force: bool,
    definition: Type,
    api_version: str,
    now: datetime | str,
    subresource: str = "",
    reset: FieldSet = BOOKKEEPING,
    convert: Convert | None = None,
) -> Object:
    """Apply a configuration.

    Args:
        live: The object as it is, with its managedFields; None if there is none yet.
        applied: The decoded configuration as it was sent, not defaulted.
        manager: The fieldManager of the request.
        force: Whether to take fields from other owners.
        definition: The schema of the kind.
        api_version: The version of the request, such as "apps/v1".
        now: The time of the write.
        subresource: Such as "status"; "" for the object itself.
        reset: Fields that this endpoint does not change, from `reset.fields`.
        convert: For owners that wrote through another version.

    Returns:
        The new object with its managedFields, still to be defaulted and validated. If nothing changed it equals `live`.

    Raises:
        BadRequest: The configuration does not fit the schema, names another version or has managedFields.
        ApplyConflict: Others own fields that would change.
    """
    _check(live, applied, definition, api_version)
    before: Object = live or {}
    listed = (before.get("metadata") or {}).get("managedFields")
    bare = _without_entries(before)
    owners = entries.decode(listed, trusted=True) or {}
    if not owners and live is not None:
        found = compare(empty(definition), bare, definition, reset)
        if found.changed:
            first = entries.owner_of(BEFORE_FIRST_APPLY, UPDATE, api_version, subresource)
            owners = {first: Owned(sort(found.changed), api_version, format_time(now))}
    me = entries.owner_of(manager, APPLY, api_version, subresource)
    last = owners.get(me)
    wanted = _owned_fields(applied, definition, reset)
    owners = {**owners, me: Owned(wanted, api_version, last.time if last else "")}
    new = _merged(bare, applied, owners, last, definition)
    found = compare(bare, new, definition, reset)
    if not force:
        _check_conflicts(bare, new, owners, me, found, definition=definition, reset=reset, convert=convert)
    if found:
        owners = record(owners, found, bare, new, api_version=api_version, reset=reset, convert=convert, keep=me)
    if not wanted:
        owners.pop(me, None)
    elif found or last is None or last.fields != wanted:
        owners[me] = replace(owners[me], time=format_time(now))
    if not found:
        new = bare
    if manager == KUBECTL:
        new = lastapplied.refresh(new, applied)
    encoded = entries.encode(owners)
    return {**new, "metadata": {**(new.get("metadata") or {}), **({"managedFields": encoded} if encoded else {})}}


def _check(live: Object | None, applied: Object, definition: Type, api_version: str) -> None:
    version = applied.get("apiVersion")
    if version != api_version:
        raise errors.BadRequest(
            f"Incorrect version specified in apply patch. Specified patch version: {version or ''}, expected: {api_version}"
        )
    meta = applied.get("metadata")
    meta = meta if isinstance(meta, dict) else {}
    if meta.get("managedFields") is not None:
        raise errors.BadRequest("metadata.managedFields must be nil")
    try:
        found = complaints(applied, definition)
    except RecursionError as err:
        raise errors.BadRequest("error decoding YAML: exceeded max depth") from err
    if found:
        words = found[0] if len(found) == 1 else "\n  ".join(["errors:", *found])
        name = f"{meta.get('namespace') or ''}/{meta.get('name') or ''}"
        what = f"{name}; {api_version}, Kind={applied.get('kind') or ''}"
        raise errors.BadRequest(f"failed to create typed patch object ({what}): {words}")


def _owned_fields(applied: Object, definition: Type, reset: FieldSet) -> FieldSet:
    fields = difference_recursive(field_set(applied, definition), reset)
    return sort(difference(fields, {"f:metadata": {}}))


def _without_entries(obj: Object) -> Object:
    meta = obj.get("metadata") or {}
    if "managedFields" not in meta:
        return obj
    return {**obj, "metadata": {key: value for key, value in meta.items() if key != "managedFields"}}


def _merged(live: Object, applied: Object, owners: Owners, last: Owned | None, definition: Type) -> Object:
    """Return the live object with the configuration over it, without what the applier has let go."""
    merged = merge(live, applied, definition)
    if last is not None and last.fields:
        merged = _prune(merged, owners, last.fields, definition) or {}
    result: Object = without_nulls(merged)
    return result


def _prune(merged: Object, owners: Owners, last: FieldSet, definition: Type) -> Any:
    """Remove what the applier owned and no applier owns now; what others own below such a place stays with it."""
    last = with_named_parents(last, definition)
    managed: FieldSet = {}
    for owner, owned in owners.items():
        if owner.operation == APPLY:
            managed = union(managed, owned.fields)
    managed = with_named_parents(managed, definition)
    if not difference(last, managed):
        return merged
    everything = with_named_parents(field_set(merged, definition), definition)
    left = _fields_without(merged, last, definition)
    pruned = without(merged, definition, difference(everything, union(left, managed)))
    left = with_named_parents(field_set(pruned or {}, definition), definition)
    return without(merged, definition, intersection(difference(everything, left), last))


def _fields_without(merged: Object, fields: FieldSet, definition: Type) -> FieldSet:
    return with_named_parents(field_set(without(merged, definition, fields) or {}, definition), definition)


def _check_conflicts(
    live: Object,
    new: Object,
    owners: Owners,
    me: Owner,
    found: Comparison,
    *,
    definition: Type,
    reset: FieldSet,
    convert: Convert | None,
) -> None:
    conflicts: dict[Owner, FieldSet] = {}
    comparisons = {owners[me].api_version: found}
    for owner, owned in owners.items():
        version = owned.api_version
        there = comparisons.get(version)
        if there is None:
            old, after = (convert(live, version), convert(new, version)) if convert else (None, None)
            there = compare(old[0], after[0], after[1], reset) if old and after else found
            comparisons[version] = there
        common = intersection(owned.fields, there.changed) if owner != me else {}
        if common:
            conflicts[owner] = common
    if conflicts and me.manager == KUBECTL:
        allowed = lastapplied.owned(live, definition, owners[me].api_version)
        left = {owner: difference(fields, allowed) for owner, fields in conflicts.items()}
        conflicts = {owner: fields for owner, fields in left.items() if fields}
    if conflicts:
        raise _conflict(conflicts)


def _conflict(conflicts: dict[Owner, FieldSet]) -> errors.ApplyConflict:
    by_owner = {str(owner): [format_path(path) for path in paths(conflicts[owner])] for owner in sorted(conflicts)}
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path}
        for owner, listed in by_owner.items()
        for path in listed
    ]
    if len(causes) == 1:
        return errors.ApplyConflict(
            f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}", causes
        )
    lines = [
        line for owner, listed in by_owner.items() for line in (f"conflicts with {owner}:", *(f"- {p}" for p in listed))
    ]
    return errors.ApplyConflict(f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines), causes)
