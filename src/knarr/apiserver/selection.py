"""Label and field selectors of a request as a query of the store.

Source: k8s.io/apiserver/pkg/storage/selection_predicate.go (v1.37).
"""

import re
from collections.abc import Callable
from functools import lru_cache

from knarr.api import errors, fields, labels
from knarr.apiserver import keys
from knarr.apiserver.parts import Target
from knarr.store import query as queries

MAX_REQUIREMENTS = 1000
"""Most requirements of a selector: every object of a collection may be held against each of them."""
_KEPT_BYTES = 4096
"""Longest selector whose parsed form is kept."""
_SETS = re.compile(r"\([^)]*\)")

Predicate = Callable[[queries.Attributes], bool]


def query(target: Target, label_selector: str, field_selector: str) -> queries.Query:
    """Return what a list or watch selects.

    Args:
        target: The collection; its name, if it has one, narrows it to that object.
        label_selector: As given; empty selects all.
        field_selector: Likewise.

    Raises:
        BadRequest: a selector cannot be parsed, or names a field that cannot be selected by.
    """
    _check_size(label_selector)
    _check_size(field_selector)
    by_label = _parse_labels(label_selector) if label_selector else labels.EVERYTHING
    by_field = _bind(target, field_selector) if field_selector else fields.EVERYTHING
    place = keys.prefix(target.resource, target.namespace)
    name = by_field.exact("metadata.name") or target.name
    if name and "/" not in name and (target.namespace or not target.resource.namespaced):
        place += name.encode(errors="replace")
    return queries.Query(place, by_label.terms + by_field.terms, _predicate(by_label.rest, by_field.rest))


def _predicate(by_label: labels.Selector, by_field: fields.Selector) -> Predicate | None:
    if by_label.is_empty:
        return None if by_field.is_empty else lambda found: by_field.matches(found.fields)
    if by_field.is_empty:
        return lambda found: by_label.matches(found.labels)
    return lambda found: by_label.matches(found.labels) and by_field.matches(found.fields)


def _check_size(text: str) -> None:
    count = _SETS.sub("", text).count(",") + 1 if len(text) > MAX_REQUIREMENTS else 0
    if count > MAX_REQUIREMENTS:
        raise errors.BadRequest(f"a selector may have at most {MAX_REQUIREMENTS} requirements, got {count}")


def _parse_labels(text: str) -> labels.Selector:
    return _kept_labels(text) if len(text) <= _KEPT_BYTES else _kept_labels.__wrapped__(text)


@lru_cache(1024)
def _kept_labels(text: str) -> labels.Selector:
    try:
        return labels.parse(text)
    except labels.SelectorError as err:
        raise errors.BadRequest(str(err)) from err


def _bind(target: Target, text: str) -> fields.Selector:
    try:
        return fields.bind(_parse_fields(text), target.resource)
    except fields.FieldSelectorError as err:
        raise errors.BadRequest(str(err)) from err


def _parse_fields(text: str) -> fields.Selector:
    return _kept_fields(text) if len(text) <= _KEPT_BYTES else _kept_fields.__wrapped__(text)


@lru_cache(1024)
def _kept_fields(text: str) -> fields.Selector:
    return fields.parse(text)
