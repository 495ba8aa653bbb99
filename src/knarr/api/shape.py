"""What patches and field ownership need to know of a schema: the shape of a value.

A protocol, so that built-in kinds, custom resources and tests can each bring their own; None in its place means "unknown".

Source: the x-kubernetes-* extensions, https://kubernetes.io/docs/reference/using-api/server-side-apply/#merge-strategy
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol


class Shape(Protocol):
    """One node of a schema."""

    @property
    def kind(self) -> str:
        """What it is: "object" (named fields), "map", "list", or a scalar's name."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The shapes of the named fields of an object; empty otherwise."""

    @property
    def element(self) -> Any:
        """The shape of a map's values or a list's elements; None otherwise."""

    @property
    def patch_strategy(self) -> str | Sequence[str] | None:
        """Strategic merge: "merge", "replace", "retainKeys", several with commas; empty for none."""

    @property
    def patch_merge_key(self) -> str | None:
        """Strategic merge: which field of a list's elements tells them apart."""

    @property
    def list_type(self) -> str | None:
        """Apply: "map", "set" or "atomic"; empty is atomic."""

    @property
    def list_map_keys(self) -> Sequence[str]:
        """Apply: which fields tell the elements of a "map" list apart."""

    @property
    def map_type(self) -> str | None:
        """Apply: "granular" or "atomic"; empty is granular."""

    @property
    def default(self) -> Any:
        """What the field is when it is not given; None for nothing."""
