"""Label and field selectors of a request as a query of the store.

Source: k8s.io/apiserver/pkg/storage/selection_predicate.go (v1.37).
"""

from collections.abc import Callable
from functools import lru_cache

from knarr.api import errors, fields, labels
from knarr.apiserver import keys
from knarr.apiserver.parts import Target
from knarr.store import query as queries

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


@lru_cache(1024)
def _parse_labels(text: str) -> labels.Selector:
    try:
        return labels.parse(text)
    except labels.SelectorError as err:
        raise errors.BadRequest(str(err)) from err


def _bind(target: Target, text: str) -> fields.Selector:
    try:
        return fields.bind(_parse_fields(text), target.resource)
    except fields.FieldSelectorError as err:
        raise errors.BadRequest(str(err)) from err


@lru_cache(1024)
def _parse_fields(text: str) -> fields.Selector:
    return fields.parse(text)
