"""What the server does to the objects of a kind on their way into the store, beyond defaults and validation.

Source: the strategies of k8s.io/kubernetes/pkg/registry/*/*/strategy.go (v1.37).
"""

import contextlib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from knarr.api import schema
from knarr.api.scheme import Resource
from knarr.api.user import User
from knarr.apiserver.parts import Parts, Target

Object = dict[str, Any]

_NOT_SPEC = {"kind", "apiVersion", "metadata", "status"}


@dataclass(frozen=True, slots=True)
class Context:
    """The circumstances of a write.

    Attributes:
        parts: The server's parts.
        target: What is written.
        user: Who writes.
        dry_run: Nothing will be stored.
        warnings: What the writer will be told.
    """

    parts: Parts
    target: Target
    user: User
    dry_run: bool
    warnings: list[str] = field(default_factory=list)


Reservation = AbstractAsyncContextManager[None]

_NOTHING = contextlib.nullcontext()


def _nothing_on_create(context: Context, obj: Object) -> None:
    return


def _nothing_on_update(context: Context, obj: Object, old: Object) -> None:
    return


def _nothing_to_reserve(context: Context, obj: Object, old: Object | None) -> Reservation:
    return _NOTHING


def _not_graceful(obj: Object, asked_s: int | None) -> int:
    return 0


def _status_differs_only(context: Context, obj: Object, old: Object) -> None:
    """Take everything but status and metadata from the old object."""
    for name in [name for name in obj if name not in ("status", "metadata")]:
        if name not in old:
            del obj[name]
    for name, value in old.items():
        if name not in ("status", "metadata"):
            obj[name] = value


@dataclass(frozen=True, slots=True)
class Strategy:
    """The rules of one kind.

    Attributes:
        prepare_create: Changes a new object in place, after admission and before validation.
        prepare_update: The same for an update, given the old object; the status is the old one's already.
        prepare_status: The same for an update of the status subresource.
        prepare_delete: Changes an object in place when its deletion begins.
        reserve: Takes what the object needs from a pool, such as addresses, while it is being written; a creation passes no old object.
        grace_s: For (object, seconds asked for or None): how long a deletion waits for the object to end by itself; 0 means not.
        keeps_status: Whether a new object keeps the status it came with.
        has_generation: Whether metadata.generation counts the changes of what is not status or metadata.
        create_on_update: Whether a PUT of a missing object creates it.
        unconditional_update: Whether a PUT may leave out the resourceVersion.
        orphans: Whether a deletion that names no policy leaves the dependents.
        returns_deleted: Whether a deletion answers with the object instead of a Status.
    """

    prepare_create: Callable[[Context, Object], None] = _nothing_on_create
    prepare_update: Callable[[Context, Object, Object], None] = _nothing_on_update
    prepare_status: Callable[[Context, Object, Object], None] = _status_differs_only
    prepare_delete: Callable[[Context, Object], None] = _nothing_on_create
    reserve: Callable[[Context, Object, Object | None], Reservation] = _nothing_to_reserve
    grace_s: Callable[[Object, int | None], int] = _not_graceful
    keeps_status: bool = False
    has_generation: bool = False
    create_on_update: bool = False
    unconditional_update: bool = True
    orphans: bool = False
    returns_deleted: bool = False

    def on_create(self, context: Context, obj: Object) -> None:
        """Prepare a new object."""
        if has_status(context.target.stored) and not self.keeps_status:
            obj["status"] = _empty_status(context)
        if self.has_generation:
            obj["metadata"]["generation"] = 1
        self.prepare_create(context, obj)

    def on_update(self, context: Context, obj: Object, old: Object) -> None:
        """Prepare the change of an object."""
        if has_status(context.target.stored):
            if "status" in old:
                obj["status"] = old["status"]
            else:
                obj.pop("status", None)
        self.prepare_update(context, obj, old)
        if self.has_generation and is_spec_changed(obj, old):
            bump_generation(obj)

    def on_status_update(self, context: Context, obj: Object, old: Object) -> None:
        """Prepare the change of an object's status."""
        self.prepare_status(context, obj, old)


def _empty_status(context: Context) -> Object:
    """Return a status as Go writes one that says nothing: with the zeros of the fields that are always there."""
    definition = context.parts.type_of(context.target.stored)
    status = definition.fields.get("status") if definition is not None else None
    return schema.normalize({}, status) if status is not None else {}


def has_status(resource: Resource) -> bool:
    """Return whether a kind has a status that is written apart."""
    return resource.subresource("status") is not None


def is_spec_changed(obj: Object, old: Object) -> bool:
    """Return whether anything but status and metadata differs."""
    names = (obj.keys() | old.keys()) - _NOT_SPEC
    return any(obj.get(name) != old.get(name) for name in names)


def bump_generation(obj: Object) -> None:
    """Count one more change."""
    metadata = obj["metadata"]
    metadata["generation"] = int(metadata.get("generation") or 0) + 1
