"""What a list or a watch selects: a place, equality requirements that an index can serve, and a predicate for the rest."""

from collections.abc import Callable, Mapping

import msgspec

from knarr.store.backend import Entry, Revision, range_end

Term = tuple[str, str, str]
"""An equality requirement: ("label", "app", "web") or ("field", "spec.nodeName", "n1")."""


class Attributes(msgspec.Struct, frozen=True, gc=False):
    """The few facts by which an object is selected.

    Attributes:
        labels: metadata.labels.
        fields: Selectable fields by path, such as "metadata.name" and "spec.nodeName".
    """

    labels: Mapping[str, str] = {}
    fields: Mapping[str, str] = {}

    def has(self, term: Term) -> bool:
        """Return whether the object fulfils one term."""
        kind, name, value = term
        return (self.labels if kind == "label" else self.fields).get(name) == value


Extract = Callable[[bytes, bytes], Attributes]
"""Gives the attributes of (key, value)."""


class Query(msgspec.Struct, frozen=True):
    """A selection.

    Attributes:
        prefix: Ending with "/": all keys below it; otherwise this one key.
        terms: Requirements that must all hold.
        predicate: What must hold besides; None means nothing.
    """

    prefix: bytes
    terms: tuple[Term, ...] = ()
    predicate: Callable[[Attributes], bool] | None = None

    @property
    def is_selective(self) -> bool:
        """Whether anything but the place decides."""
        return bool(self.terms) or self.predicate is not None

    def is_match(self, attributes: Attributes) -> bool:
        """Return whether an object below the prefix is selected."""
        for term in self.terms:
            if not attributes.has(term):
                return False
        return self.predicate is None or self.predicate(attributes)

    def to_range(self) -> tuple[bytes, bytes]:
        """Return the first key and the one after the last."""
        end = range_end(self.prefix) if self.prefix.endswith(b"/") else self.prefix + b"\x00"
        return self.prefix, end


class Page(msgspec.Struct, frozen=True):
    """A part of a list.

    Attributes:
        entries: Ascending by key.
        revision: The revision at which all of this list is read.
        next: Pass it as `after` to go on; empty at the end.
        remaining: About how many entries follow; None if nobody knows, since a selection is filtered.
    """

    entries: list[Entry]
    revision: Revision
    next: bytes = b""
    remaining: int | None = 0
