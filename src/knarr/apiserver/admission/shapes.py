"""Objects as webhooks and policies see and leave them: converted between versions, and made whole again after a change.

Source: VersionedAttributes in k8s.io/apiserver/pkg/admission/conversion.go (v1.37).
"""

from typing import Any

from knarr.api import defaults, errors, schema
from knarr.api.scheme import Resource
from knarr.apiserver import objects
from knarr.apiserver.customresources import conversion
from knarr.apiserver.customresources import intake as custom_intake
from knarr.apiserver.parts import Parts

Object = dict[str, Any]


class Shaper:
    """The `admission.chain.Shapes` of a server.

    The chain is a part of `Parts`, so this learns of them when they exist; without them it knows the built-in kinds alone.
    """

    def __init__(self) -> None:
        self._parts: Parts | None = None
        self._definitions = schema.built_in()

    def attach(self, parts: Parts) -> None:
        """Take the parts of the server."""
        self._parts = parts

    async def convert(self, obj: Object, kind: Resource) -> Object:
        """Return an object in the version of `kind`; the same dict if it is in that version."""
        if obj.get("apiVersion") == kind.api_version:
            return obj
        version = self._parts.custom.of(kind) if self._parts is not None else None
        if version is None or self._parts is None:
            return objects.to_version(kind, obj)
        return (await conversion.convert(self._parts, version, [obj]))[0]

    def settle(self, obj: Object, kind: Resource) -> Object:
        """Return an object checked against its schema, normalized and with defaults.

        Raises:
            InternalError: it is no object of that kind.
        """
        version = self._parts.custom.of(kind) if self._parts is not None else None
        try:
            if version is not None:
                return custom_intake.settle(version, obj)[0]
            if kind.definition not in self._definitions:
                return obj
            result: Object = schema.convert(obj, self._definitions.get(kind.definition)).object
        except schema.DecodeError as err:
            raise errors.InternalError(str(err)) from err
        except errors.BadRequest as err:
            raise errors.InternalError(err.message) from err
        defaults.apply(kind, result)
        return result

    def type_of(self, kind: Resource) -> schema.Type | None:
        """Return the schema of a kind, None if it has none."""
        if self._parts is not None:
            return self._parts.type_of(kind)
        return self._definitions.get(kind.definition) if kind.definition in self._definitions else None
