"""The options in a request's query, read as upstream reads them.

Source: k8s.io/apimachinery/pkg/apis/meta/v1 ListOptions, CreateOptions, UpdateOptions, PatchOptions and their
validation; k8s.io/apimachinery/pkg/runtime/converter and conversion.go for numbers and flags (v1.37).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from knarr.api import errors, field
from knarr.apiserver.requestinfo import is_true

Values = Mapping[str, Sequence[str]]

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"
EXACT, NOT_OLDER_THAN = "Exact", "NotOlderThan"
_INT64_MAX = 2**63 - 1
_META = "meta.k8s.io"
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ns": 1e-9}
_DURATION_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([^0-9.]*)")


def parse(query: str) -> Values:
    """Parse a query; broken parts are dropped, as Go's url.Values does."""
    return parse_qs(query, keep_blank_values=True) if query else {}


def text(values: Values, name: str) -> str:
    """Return the first value of an option, empty if it is not given."""
    found = values.get(name)
    return found[0] if found else ""


def flag(values: Values, name: str) -> bool:
    """Return whether a flag is set."""
    found = values.get(name)
    return bool(found) and is_true(found[0]) if found else False


def integer(values: Values, name: str) -> int | None:
    """Return a number, None if it is not given.

    Raises:
        BadRequest: it is none, or does not fit 64 bits.
    """
    given = text(values, name)
    if not given:
        return None
    if not re.fullmatch(r"[+-]?[0-9]+", given, re.ASCII):
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{given[:256]}": invalid syntax')
    if len(given) > 20 or abs(number := int(given)) > _INT64_MAX:
        raise errors.BadRequest(f'strconv.ParseInt: parsing "{given[:256]}": value out of range')
    return number


@dataclass(frozen=True, slots=True)
class ListOptions:
    """What a list, watch or deletecollection is asked for.

    Attributes:
        label_selector: As given.
        field_selector: As given.
        resource_version: As given; "" and "0" mean the newest state.
        match: "Exact", "NotOlderThan" or "".
        limit: Most objects; 0 means all.
        token: The continue token.
        timeout_s: Seconds after which a watch ends; None leaves it to the server.
        bookmarks: Whether bookmarks may be sent.
        initial_events: Whether a watch begins with the state; None if not said.
    """

    label_selector: str = ""
    field_selector: str = ""
    resource_version: str = ""
    match: str = ""
    limit: int = 0
    token: str = ""
    timeout_s: int | None = None
    bookmarks: bool = False
    initial_events: bool | None = None


def list_options(values: Values, *, watch: bool) -> ListOptions:
    """Read and check ListOptions.

    Raises:
        BadRequest: a number is none.
        Invalid: the options contradict each other.
    """
    options = ListOptions(
        text(values, "labelSelector"),
        text(values, "fieldSelector"),
        text(values, "resourceVersion"),
        text(values, "resourceVersionMatch"),
        max(0, integer(values, "limit") or 0),
        text(values, "continue"),
        integer(values, "timeoutSeconds"),
        flag(values, "allowWatchBookmarks"),
        flag(values, "sendInitialEvents") if "sendInitialEvents" in values else None,
    )
    if options.match or options.initial_events is not None:
        found = _check_watch(options) if watch else _check_list(options)
        if found:
            raise errors.Invalid(_META, "ListOptions", "", found)
    return options


def _check_list(options: ListOptions) -> list[field.FieldError]:
    path = field.Path("resourceVersionMatch")
    found = []
    if options.initial_events is not None:
        found.append(field.forbidden(field.Path("sendInitialEvents"), "sendInitialEvents is forbidden for list"))
    if options.match:
        if not options.resource_version:
            found.append(field.forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.token:
            found.append(field.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
        if options.match not in (EXACT, NOT_OLDER_THAN):
            found.append(field.not_supported(path, options.match, [EXACT, NOT_OLDER_THAN, ""]))
        if options.match == EXACT and options.resource_version == "0":
            words = 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            found.append(field.forbidden(path, words))
    return found


def _check_watch(options: ListOptions) -> list[field.FieldError]:
    path = field.Path("resourceVersionMatch")
    if options.initial_events is None:
        words = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        return [field.forbidden(path, words)]
    found = []
    if not options.match:
        words = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        found.append(field.forbidden(path, words))
    elif options.match != NOT_OLDER_THAN:
        found.append(field.not_supported(path, options.match, [NOT_OLDER_THAN]))
    if options.token:
        found.append(field.forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    return found


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What a create, update or patch is asked for.

    Attributes:
        dry_run: Nothing is stored.
        field_manager: Who owns what is written; "" means the first part of the user agent.
        field_validation: "Strict", "Warn" or "Ignore".
        force: An apply takes over what others own; None if not said.
    """

    dry_run: bool = False
    field_manager: str = ""
    field_validation: str = WARN
    force: bool | None = None

    def to_object(self, kind: str) -> dict[str, Any]:
        """Return the options as admission sees them."""
        found: dict[str, Any] = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
        if self.dry_run:
            found["dryRun"] = ["All"]
        if self.field_manager:
            found["fieldManager"] = self.field_manager
        found["fieldValidation"] = self.field_validation
        if self.force is not None:
            found["force"] = self.force
        return found


_PLAIN = WriteOptions()


def write_options(values: Values, kind: str, *, patch_type: str = "") -> WriteOptions:
    """Read and check CreateOptions, UpdateOptions or PatchOptions.

    Args:
        values: The query.
        kind: Which of the three, for messages.
        patch_type: The media type of a patch.

    Raises:
        Invalid: a value is none of the known ones.
    """
    apply = patch_type.startswith("application/apply-patch")
    if not values and not apply:
        return _PLAIN
    found = _check_dry_run(values.get("dryRun", ()))
    manager = text(values, "fieldManager")
    validation = text(values, "fieldValidation") or WARN
    force = flag(values, "force") if "force" in values else None
    path = field.Path("fieldManager")
    if len(manager.encode(errors="replace")) > 128:
        found.append(field.too_long(path, 128))
    if not manager.isprintable():
        found.append(field.invalid(path, manager, "should only contain printable characters"))
    if validation not in (STRICT, WARN, IGNORE):
        known = [IGNORE, STRICT, WARN]
        found.append(field.not_supported(field.Path("fieldValidation"), validation, known))
    if apply and not manager:
        found.append(field.required(path, "is required for apply patch"))
    if force is not None and patch_type and not apply:
        found.append(field.forbidden(field.Path("force"), "may not be specified for non-apply patch"))
    if found:
        raise errors.Invalid(_META, kind, "", found)
    return WriteOptions(bool(values.get("dryRun")), manager, validation, force)


def _check_dry_run(given: Sequence[str]) -> list[field.FieldError]:
    if all(value == "All" for value in given):
        return []
    return [field.not_supported(field.Path("dryRun"), list(given), ["All"])]


def duration_s(given: str) -> float:
    """Read a Go duration such as "1m30s".

    Raises:
        ValueError: it is none; in the words of Go's time.ParseDuration.
    """
    shown = f'"{given[:64]}"'
    sign, rest = (-1.0, given[1:]) if given[:1] == "-" else (1.0, given.removeprefix("+"))
    if rest == "0":
        return 0.0
    parts = _DURATION_PART.findall(rest)
    if not rest or len(given) > 64 or "".join(f"{number}{unit}" for number, unit in parts) != rest:
        raise ValueError(f"time: invalid duration {shown}")
    for _, unit in parts:
        if not unit:
            raise ValueError(f"time: missing unit in duration {shown}")
        if unit not in _UNITS:
            raise ValueError(f'time: unknown unit "{unit}" in duration {shown}')
    return sign * sum(float(number) * _UNITS[unit] for number, unit in parts)
