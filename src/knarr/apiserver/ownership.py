"""Who owns which field, kept on every write: the API server's side of `api.managedfields`."""

from typing import Any

from knarr.api import conversion, managedfields
from knarr.api.managedfields.update import Convert
from knarr.api.schema import Type
from knarr.api.scheme import Resource
from knarr.apiserver import objects
from knarr.apiserver.options import WriteOptions
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table

Object = dict[str, Any]


def track(parts: Parts, call: Call, target: Target, live: Object | None, obj: Object, write: WriteOptions) -> Object:
    """Record what a write other than apply changes.

    Args:
        parts: The server's parts.
        call: Who writes.
        target: Through which endpoint.
        live: The object as it is, in the version of the request; None on create.
        obj: The object as it is to be.
        write: Names the manager.

    Returns:
        The new object with its managedFields.
    """
    resource = target.resource
    definition = parts.type_of(resource)
    if definition is None:
        return obj
    if live is not None and _is_unchanged(live, obj):
        return obj
    return managedfields.update(
        live,
        obj,
        manager=_manager(call, write),
        definition=definition,
        api_version=resource.api_version,
        now=parts.now(),
        subresource=target.subresource,
        reset=_reset(target),
        convert=_converter(parts, resource),
    )


def apply(parts: Parts, target: Target, live: Object | None, applied: Object, write: WriteOptions) -> Object:
    """Merge a configuration into an object; see `api.managedfields.apply`.

    Raises:
        BadRequest: the configuration does not fit the kind.
        ApplyConflict: others own what it sets.
    """
    resource = target.resource
    definition = parts.type_of(resource)
    assert definition is not None
    return managedfields.apply(
        live,
        applied,
        manager=write.field_manager,
        force=bool(write.force),
        definition=definition,
        api_version=resource.api_version,
        now=parts.now(),
        subresource=target.subresource,
        reset=_reset(target),
        convert=_converter(parts, resource),
    )


def _manager(call: Call, write: WriteOptions) -> str:
    return managedfields.manager_name(write.field_manager, call.request.headers.get("user-agent") or "")


def _reset(target: Target) -> Any:
    resource = target.resource
    custom = not table.is_built_in(resource)
    return managedfields.reset_fields(resource.group, resource.kind, target.subresource, custom=custom)


def _is_unchanged(live: Object, obj: Object) -> bool:
    # A caller that sends back what it read, as most no-op updates do.
    return live == obj


def _converter(parts: Parts, resource: Resource) -> Convert | None:
    versions = {other.api_version: other for other in parts.scheme.versions(resource)}
    custom = parts.custom.of(resource)
    if len(versions) == 1 or (custom is not None and custom.definition.is_webhook):
        return None

    def convert(obj: Object, api_version: str) -> tuple[Object, Type] | None:
        other = versions.get(api_version)
        definition = parts.type_of(other) if other is not None else None
        if other is None or definition is None:
            return None
        return conversion.convert(objects.to_version(other, obj), other), definition

    return convert
