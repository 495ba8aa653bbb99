"""Reads the OpenAPI definitions and compiles them, one by one, when they are first asked for.

The file has 1.8 MB, mostly descriptions: msgspec skips these while decoding, in 10 ms and 2 MB. A definition then becomes a
`Type` whose fields are compiled at the first look.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from knarr.api.schema import wire
from knarr.api.schema.types import Kind, Type

RELEASE = "v1.37.0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_SPECIAL: Mapping[str, tuple[Kind, str]] = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": ("quantity", ""),
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": ("intstr", ""),
    f"{_META}.Time": ("time", "Time"),
    f"{_META}.MicroTime": ("time", "MicroTime"),
}
_SCALARS = {
    ("integer", "int32"): "int32",
    ("integer", "int64"): "int64",
    ("integer", ""): "int64",
    ("number", "double"): "float64",
    ("number", ""): "float64",
    ("boolean", ""): "bool",
    ("string", "byte"): "[]uint8",
}


class Schema(msgspec.Struct, gc=False, frozen=True):
    """The part of a JSON schema that types are made of."""

    type: str | list[str] = ""
    format: str = ""
    ref: str = msgspec.field(name="$ref", default="")
    items: "Schema | None" = None
    properties: dict[str, "Schema"] | None = None
    additional: "Schema | bool | None" = msgspec.field(name="additionalProperties", default=None)
    required: list[str] = []
    default: Any = None
    patch_strategy: str = msgspec.field(name="x-kubernetes-patch-strategy", default="")
    patch_merge_key: str = msgspec.field(name="x-kubernetes-patch-merge-key", default="")
    list_type: str = msgspec.field(name="x-kubernetes-list-type", default="")
    list_map_keys: list[str] = msgspec.field(name="x-kubernetes-list-map-keys", default=[])
    map_type: str = msgspec.field(name="x-kubernetes-map-type", default="")
    int_or_string: bool = msgspec.field(name="x-kubernetes-int-or-string", default=False)
    preserve_unknown: bool = msgspec.field(name="x-kubernetes-preserve-unknown-fields", default=False)
    embedded: bool = msgspec.field(name="x-kubernetes-embedded-resource", default=False)

    @property
    def plain_type(self) -> str:
        """The one type besides null."""
        if isinstance(self.type, str):
            return self.type
        return next((name for name in self.type if name != "null"), "")


class _Document(msgspec.Struct):
    definitions: dict[str, Schema] = msgspec.field(name="$defs")


def definitions_path() -> Path:
    """Return where the definitions of this release lie.

    Raises:
        FileNotFoundError: kubernetes-validate is not installed.
    """
    spec = find_spec("kubernetes_validate")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package kubernetes-validate is not installed")
    root = Path(next(iter(spec.submodule_search_locations)))
    return root / "kubernetes-json-schema" / f"{RELEASE}-local" / "_definitions.json"


class Definitions:
    """The types of all definitions by name, such as "io.k8s.api.apps.v1.Deployment".

    Args:
        schemas: The decoded definitions.
    """

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self._schemas = schemas
        self._types: dict[str, Type] = {}

    def get(self, name: str) -> Type:
        """Return the type of a definition.

        Raises:
            KeyError: there is none of that name.
        """
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = self._definition(name)
        return found

    def __contains__(self, name: str) -> bool:
        return name in self._schemas

    def compile(self, schema: Schema) -> Type:
        """Return the type of a schema that stands alone, such as a custom resource's."""
        return self._type(schema, "", "")

    def _definition(self, name: str) -> Type:
        return self._type(self._schemas[name], name, "")

    def _type(
        self, schema: Schema, name: str, field: str, *, owner: str = "", required: bool = False, go_name: str = ""
    ) -> Type:
        """Compile the schema of a definition (`name`), of a field of the definition `owner`, or of the elements of one."""
        target = schema
        if schema.ref:
            name = schema.ref.rpartition("/")[2]
            target = self._schemas[name]
        kind, scalar = _kind(target, name)
        facts = wire.of_field(owner, field, kind, scalar, required=required)
        element = None
        if kind == "list":
            element = Type("any")
            if target.items is not None:
                element = self._type(target.items, "", "", go_name=facts.go_name)
        elif kind == "map":
            inner = target.additional
            element = self._type(inner, "", "") if isinstance(inner, Schema) else Type("any")
        return Type(
            kind,
            scalar=scalar,
            name=name,
            expand=(lambda: self._fields(target, name)) if kind == "object" else None,
            element=element,
            required=facts.always,
            pointer=facts.pointer,
            patch_strategy=schema.patch_strategy,
            patch_merge_key=schema.patch_merge_key,
            list_type=schema.list_type or target.list_type,
            list_map_keys=tuple(schema.list_map_keys or target.list_map_keys),
            map_type=schema.map_type or target.map_type,
            default=schema.default if schema.default is not None else facts.default,
            preserve_unknown=target.preserve_unknown or target.embedded,
            go_name=go_name or (facts.go_name if kind != "list" else ""),
        )

    def _fields(self, schema: Schema, name: str) -> Mapping[str, Type]:
        return {
            field: self._type(inner, "", field, owner=name, required=field in schema.required)
            for field, inner in (schema.properties or {}).items()
        }


def _kind(schema: Schema, name: str) -> tuple[Kind, str]:
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    plain = schema.plain_type
    if schema.int_or_string:
        return "intstr", ""
    if plain == "array":
        return "list", ""
    if schema.properties is not None or name in wire.EMPTY_STRUCTS:
        return "object", ""
    if plain == "object" and schema.additional is not None:
        return "map", ""
    if plain in ("string", "integer", "number", "boolean"):
        return "scalar", _SCALARS.get((plain, schema.format), "float64" if plain == "number" else plain)
    return "any", ""


@cache
def built_in() -> Definitions:
    """Return the definitions of this release, read once."""
    return Definitions(msgspec.json.decode(definitions_path().read_bytes(), type=_Document).definitions)
