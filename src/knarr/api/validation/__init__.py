"""Validation of every built-in kind, with upstream's messages and field paths.

`validate_create` sees an object after defaulting, admission and strategy; `validate_update` also sees what stands there now. Both
check the metadata and then what `table.py` says about the kind. Everything is reported at once, in upstream's order.

Source: k8s.io/kubernetes/pkg/apis/*/validation (v1.37).
"""

from typing import Any, Protocol

from knarr.api import names
from knarr.api.field import FieldError
from knarr.api.validation import meta
from knarr.api.validation.collector import Errors
from knarr.api.validation.rules import Rules
from knarr.api.validation.table import TABLE

_UNLISTED = Rules()


class Kind(Protocol):
    """The part of `api.scheme.Resource` that is looked at here."""

    @property
    def group(self) -> str:
        """The API group, "" for core."""

    @property
    def kind(self) -> str:
        """The kind."""

    @property
    def namespaced(self) -> bool:
        """Whether objects of the kind live in namespaces."""


def name_rule(resource: Kind) -> names.NameRule | None:
    """Return what a kind demands of names; None if its objects are never stored."""
    return TABLE.get((resource.group, resource.kind), _UNLISTED).name


def validate_create(resource: Kind, obj: dict[str, Any], *, requested: Kind | None = None) -> list[FieldError]:
    """Validate a new object after defaulting, admission and strategy.

    Args:
        resource: Which kind it is of.
        obj: The object in the form of `resource`, with its name generated and its namespace set.
        requested: What the caller named, where that is the same kind of another group: Events are judged by it.

    Returns:
        What is wrong, each thing once; empty if nothing is.
    """
    errors = Errors()
    rules = TABLE.get(((requested or resource).group, resource.kind))
    built_in, rules = rules is not None, rules or _UNLISTED
    if rules.name is not None:
        meta.check_create(
            errors, obj.get("metadata") or {}, rules.name, namespaced=resource.namespaced, built_in=built_in
        )
    rules.create(errors, obj)
    return errors.distinct()


def validate_update(
    resource: Kind,
    obj: dict[str, Any],
    old: dict[str, Any],
    subresource: str = "",
    *,
    requested: Kind | None = None,
) -> list[FieldError]:
    """Validate the change from `old` to `obj` through the resource itself or one of its subresources.

    Args:
        resource: Which kind the objects are of.
        obj: What is to stand there.
        old: What stands there now.
        subresource: Such as "status"; empty for the resource itself.
        requested: As for `validate_create`.

    Returns:
        What is wrong, each thing once; empty if nothing is.
    """
    errors = Errors()
    rules = TABLE.get(((requested or resource).group, resource.kind))
    built_in, rules = rules is not None, rules or _UNLISTED
    meta.check_update(errors, obj.get("metadata") or {}, old.get("metadata") or {}, built_in=built_in)
    if subresource == "status":
        rules.status(errors, obj, old)
    elif subresource in rules.subresources:
        rules.subresources[subresource](errors, obj, old)
    elif not subresource:
        if rules.update is not None:
            rules.update(errors, obj, old)
        else:
            rules.create(errors, obj)
    return errors.distinct()
