"""Schemas as clients read them in OpenAPI documents: with apiVersion, kind and metadata, and a definition of the list.

What OpenAPI v2 cannot say is left out there, so that old clients do not reject what the server takes.

Source: k8s.io/apiextensions-apiserver/pkg/controller/openapi: builder/builder.go, v2/conversion.go (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_CONVENTIONS = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md"
_API_VERSION = {
    "description": "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized "
    f"schemas to the latest internal value, and may reject unrecognized values. More info: {_CONVENTIONS}#resources",
    "type": "string",
}
_KIND = {
    "description": "Kind is a string value representing the REST resource this object represents. Servers may infer this from the "
    f"endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: {_CONVENTIONS}#types-kinds",
    "type": "string",
}
_METADATA = f"Standard object's metadata. More info: {_CONVENTIONS}#metadata"
_LIST_METADATA = f"Standard list metadata. More info: {_CONVENTIONS}#types-kinds"
_NOT_IN_V2 = ("allOf", "anyOf", "oneOf", "not", "nullable", "x-kubernetes-validations")


@dataclass(frozen=True, slots=True)
class Published:
    """What is published of one version of a kind.

    Attributes:
        group: Its API group.
        version: Its version.
        kind: Its kind.
        list_kind: The kind of its lists.
        plural: Its name in paths.
        definition: Key of its definition.
        schema: `openAPIV3Schema`.
    """

    group: str
    version: str
    kind: str
    list_kind: str
    plural: str
    definition: str
    schema: Mapping[str, Any]

    def v3(self) -> dict[str, Object]:
        """Return the definitions of the kind and its list for OpenAPI v3."""
        return self._definitions("#/components/schemas/", dict(self.schema), is_v3=True)

    def v2(self) -> dict[str, Object]:
        """Return the definitions of the kind and its list for OpenAPI v2."""
        if not self.schema or self.schema.get("x-kubernetes-preserve-unknown-fields"):
            # kubectl takes any list of properties for all of them, so none may be named, not even metadata.
            return self._definitions("#/definitions/", None, is_v3=False)
        return self._definitions("#/definitions/", _to_v2(self.schema), is_v3=False)

    def _definitions(self, root: str, schema: Object | None, *, is_v3: bool) -> dict[str, Object]:
        own: Object = {}
        if schema is not None:
            own = _with_meta(_embedded(schema, root, is_v3=is_v3), root, is_v3=is_v3)
        own.setdefault("type", "object")
        own["x-kubernetes-group-version-kind"] = [self._gvk(self.kind)]
        items = {
            "description": f"List of {self.plural}. More info: "
            "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md",
            "type": "array",
            "items": {"$ref": root + self.definition},
        }
        listed = {
            "description": f"{self.list_kind} is a list of {self.kind}",
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": _API_VERSION,
                "items": items,
                "kind": _KIND,
                "metadata": _reference(root, f"{META}.ListMeta", _LIST_METADATA, is_v3=is_v3),
            },
            "x-kubernetes-group-version-kind": [self._gvk(self.list_kind)],
        }
        return {self.definition: own, f"{self.definition}List": listed}

    def _gvk(self, kind: str) -> Object:
        return {"group": self.group, "kind": kind, "version": self.version}


def _with_meta(schema: Object, root: str, *, is_v3: bool) -> Object:
    """Return the schema of a whole object with the fields that every object has."""
    known = {
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": _reference(root, f"{META}.ObjectMeta", _METADATA, is_v3=is_v3),
    }
    return {**schema, "properties": {**(schema.get("properties") or {}), **known}}


def _reference(root: str, name: str, description: str, *, is_v3: bool) -> Object:
    if is_v3:
        return {"description": description, "allOf": [{"$ref": root + name}], "default": {}}
    return {"description": description, "$ref": root + name}


def _embedded(schema: Object, root: str, *, is_v3: bool, top: bool = True) -> Object:
    """Return a schema in which objects within the object have their fields, too."""
    out = dict(schema)
    for name in ("items", "additionalProperties"):
        if isinstance(out.get(name), Mapping):
            out[name] = _embedded(out[name], root, is_v3=is_v3, top=False)
    if out.get("properties"):
        out["properties"] = {
            name: _embedded(inner, root, is_v3=is_v3, top=False) for name, inner in out["properties"].items()
        }
    is_open = bool(out.get("x-kubernetes-preserve-unknown-fields")) and not is_v3
    if out.get("x-kubernetes-embedded-resource") and not top and not is_open:
        out = _with_meta(out, root, is_v3=is_v3)
        out["required"] = list(dict.fromkeys([*(out.get("required") or ()), "kind", "apiVersion"]))
    return out


def _to_v2(schema: Mapping[str, Any]) -> Object:
    out = {key: value for key, value in schema.items() if key not in _NOT_IN_V2}
    if schema.get("nullable"):
        # v2 knows no null: nothing may be said of the type.
        for name in ("type", "items", "properties", "additionalProperties", "required"):
            out.pop(name, None)
    if schema.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        # Of an object kubectl takes what is not named for a map whose values may not be null; without a type it asks nothing.
        for name in ("items", "properties", "additionalProperties", "type"):
            out.pop(name, None)
    for name in ("items", "additionalProperties"):
        if isinstance(out.get(name), Mapping):
            out[name] = _to_v2(out[name])
    if out.get("properties"):
        out["properties"] = {name: _to_v2(inner) for name, inner in out["properties"].items()}
        required = [name for name in out.get("required") or () if name in out["properties"]]
        out.pop("required", None)
        if required:
            out["required"] = required
    else:
        out.pop("required", None)
    return out
