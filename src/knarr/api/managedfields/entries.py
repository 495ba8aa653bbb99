"""The `metadata.managedFields` of an object: who owns which fields, since when, through which version and subresource.

Source: k8s.io/apimachinery/pkg/util/managedfields/internal: managedfields.go, capmanagers.go (v1.37).
"""

from dataclasses import dataclass, replace
from typing import Any

from knarr.api.managedfields.fieldset import FieldSet, is_well_formed, sort, union

APPLY = "Apply"
UPDATE = "Update"
MAX_UPDATE_MANAGERS = 10
ANCIENT_CHANGES = "ancient-changes"
_MAX_NAME_CHARS = 128


@dataclass(frozen=True, slots=True, order=True)
class Owner:
    """Who owns fields. Appliers are the same owner in every version, so theirs has no `api_version`."""

    manager: str
    operation: str
    api_version: str = ""
    subresource: str = ""

    def __str__(self) -> str:
        """Print it as conflicts name it: `"kubectl" using apps/v1`."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return f"{text} using {self.api_version}" if self.operation == UPDATE else text


@dataclass(frozen=True, slots=True)
class Owned:
    """What an owner owns.

    Attributes:
        fields: The set, in upstream's order (`fieldset.sort`); never changed.
        api_version: The version in which its paths are written.
        time: When the owner last changed it, RFC 3339; may be empty.
    """

    fields: FieldSet
    api_version: str
    time: str = ""


Owners = dict[Owner, Owned]


def owner_of(manager: str, operation: str, api_version: str, subresource: str) -> Owner:
    """Return the identity of a writer."""
    return Owner(manager or "unknown", operation, "" if operation == APPLY else api_version, subresource)


def decode(entries: Any, *, trusted: bool = False) -> Owners | None:
    """Read `managedFields`; None if they are not understood, which makes them count as absent.

    Args:
        entries: The list, as decoded.
        trusted: Whether they are stored ones, whose sets need no second look.
    """
    owners: Owners = {}
    for entry in entries or ():
        if not isinstance(entry, dict):
            return None
        operation = entry.get("operation")
        fields = entry.get("fieldsV1") or {}
        try:
            good = trusted or is_well_formed(fields)
        except RecursionError:
            good = False
        if operation not in (APPLY, UPDATE) or not good:
            return None
        version = str(entry.get("apiVersion") or "")
        owner = Owner(
            str(entry.get("manager") or ""),
            operation,
            "" if operation == APPLY else version,
            str(entry.get("subresource") or ""),
        )
        owners[owner] = Owned(fields, version, str(entry.get("time") or ""))
    return owners


def encode(owners: Owners) -> list[dict[str, Any]]:
    """Write `managedFields`: appliers first, then by time, name, version and subresource."""
    ordered = sorted(owners.items(), key=_rank)
    entries = []
    for owner, owned in ordered:
        entry: dict[str, Any] = {
            "manager": owner.manager,
            "operation": owner.operation,
            "apiVersion": owned.api_version,
            "time": owned.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": owned.fields,
            "subresource": owner.subresource,
        }
        entries.append({key: value for key, value in entry.items() if value not in ("", None)})
    return entries


def _rank(pair: tuple[Owner, Owned]) -> tuple[str, ...]:
    owner, owned = pair
    return owner.operation, owned.time, owner.manager, owned.api_version, owner.subresource


def is_reset(entries: Any) -> bool:
    """Return whether a writer asks to forget all owners: one empty entry."""
    return isinstance(entries, list) and len(entries) == 1 and not entries[0]


def cap(owners: Owners) -> Owners:
    """Merge the oldest owners by update until at most MAX_UPDATE_MANAGERS are left, one bucket a version."""
    updaters = sorted(
        (owner for owner in owners if owner.operation == UPDATE), key=lambda owner: (owners[owner].time, str(owner))
    )
    excess = len(updaters) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return owners
    result = dict(owners)
    first_of: dict[str, Owner] = {}
    for owner in updaters:
        if excess <= 0:
            break
        version = result[owner].api_version
        bucket = Owner(ANCIENT_CHANGES, UPDATE, version)
        first = first_of.setdefault(version, owner)
        if first == owner:
            continue
        if bucket not in result:
            result[bucket] = result.pop(first)
        owned = result.pop(owner)
        result[bucket] = replace(owned, fields=sort(union(owned.fields, result[bucket].fields)))
        excess -= 1
    return result


def manager_name(field_manager: str, user_agent: str) -> str:
    """Return the name a writer gets: the one it gave, or the start of its user agent.

    Source: managerOrUserAgent in k8s.io/apiserver/pkg/endpoints/handlers/create.go.
    """
    if field_manager:
        return field_manager
    name = user_agent.partition("/")[0]
    return "".join(char for char in name if char.isprintable())[:_MAX_NAME_CHARS]
