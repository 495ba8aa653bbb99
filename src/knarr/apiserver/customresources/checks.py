"""Whether a custom object may be stored: its schema, its lists, the objects within it, its scale, its CEL rules.

Source: k8s.io/apiextensions-apiserver/pkg/registry/customresource/{strategy,status_strategy,validator}.go (v1.37).
"""

from typing import Any

from knarr.api import field
from knarr.api.field import ErrorType, FieldError, Path
from knarr.api.scheme import Resource
from knarr.api.structural import listtypes
from knarr.api.structural.validation import MISSING
from knarr.apiserver.customresources.definitions import Version
from knarr.apiserver.customresources.scale import at
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

_BLOCKING = frozenset(
    {ErrorType.NOT_SUPPORTED, ErrorType.REQUIRED, ErrorType.TOO_LONG, ErrorType.TOO_MANY, ErrorType.TYPE_INVALID}
)
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
MAX_REPLICAS = 2**31 - 1


def check(parts: Parts, resource: Resource, obj: Object, old: Object | None = None) -> list[FieldError]:
    """Return what is wrong with a new or changed object of a custom kind; nothing is with those of others.

    Args:
        parts: The server's parts.
        resource: Its kind and version.
        obj: The object, defaulted.
        old: What stood there before; None for a new one.
    """
    version = parts.custom.of(resource)
    if version is None:
        return []
    found = version.validator.validate(obj, "", MISSING if old is None else old)
    found += _check_scale(version, obj)
    found += listtypes.check_embedded(obj, version.node)
    if old is None or not listtypes.check_lists(old, version.node):
        found += listtypes.check_lists(obj, version.node)
    if version.rules is None:
        return found
    if any(one.type in _BLOCKING for one in found):
        return [*found, field.invalid(Path(""), None, _UNCHECKED)]
    return found + version.rules.check(obj, MISSING if old is None else old)


def _check_scale(version: Version, obj: Object) -> list[FieldError]:
    scale = version.scale
    if scale is None:
        return []
    found = []
    for path in (scale.spec_replicas, scale.status_replicas):
        value = at(obj, path)
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 0:
                found.append(field.invalid(Path(path.removeprefix(".")), value, "should be a non-negative integer"))
            elif value > MAX_REPLICAS:
                words = f"should be less than or equal to {MAX_REPLICAS}"
                found.append(field.invalid(Path(path.removeprefix(".")), value, words))
    return found
