"""What `table.py` says about one kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from knarr.api import names
from knarr.api.validation.collector import Errors, Object

Create = Callable[[Errors, Object], None]
"""Checks a new object, apart from the metadata that all kinds have in common."""

Update = Callable[[Errors, Object, Object], None]
"""Checks an object against what it was, apart from the metadata that all kinds have in common: (errors, new, old)."""


def nothing(_errors: Errors, _obj: Object) -> None:
    """Accept any new object: a kind without rules of its own."""


def no_change(_errors: Errors, _obj: Object, _old: Object) -> None:
    """Accept any change."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How one kind is validated.

    Attributes:
        create: For a new object.
        update: For a change of the whole object; None: as a new one.
        status: For a change through `/status`.
        subresources: For changes through the other subresources, such as "resize".
        name: What the kind demands of a name; None: the object is never stored, and its metadata does not matter.
    """

    create: Create = nothing
    update: Update | None = None
    status: Update = no_change
    subresources: Mapping[str, Update] = field(default_factory=dict)
    name: names.NameRule | None = names.name_is_subdomain
