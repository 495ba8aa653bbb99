"""The definitions as OpenAPI documents show them: with descriptions, which the types of `api.schema` leave out.

The file is read anew for every document that is made, so that nothing of it stays in memory.

Source: k8s.io/kube-openapi/pkg/builder and builder3 (v1.37): how the two versions write references and special types.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from knarr.api.schema.definitions import definitions_path

Object = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_DEFAULTS: Mapping[tuple[str, str], str] = {("ContainerPort", "protocol"): "TCP", ("ServicePort", "protocol"): "TCP"}
V2_ROOT, V3_ROOT = "#/definitions/", "#/components/schemas/"

STATUS, DELETE_OPTIONS, WATCH_EVENT, PATCH = (
    f"{_META}.{kind}" for kind in ("Status", "DeleteOptions", "WatchEvent", "Patch")
)


def load() -> dict[str, Object]:
    """Read all definitions, as they lie in the file."""
    document: Object = msgspec.json.decode(definitions_path().read_bytes())
    found: dict[str, Object] = document["$defs"]
    return found


def reachable(definitions: Mapping[str, Object], roots: Iterable[str]) -> list[str]:
    """Return the names of definitions, and of all that they refer to, sorted."""
    found: set[str] = set()
    waiting = [name for name in roots if name in definitions]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [target for target in _references(definitions[name]) if target in definitions]
    return sorted(found)


def _references(value: Any) -> Iterable[str]:
    if isinstance(value, dict):
        reference = value.get("$ref")
        if isinstance(reference, str):
            yield reference.rpartition("/")[2]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def to_v2(name: str, definition: Object) -> Object:
    """Return a definition as OpenAPI v2 writes it."""
    if name == _INT_OR_STRING:
        return {**_described(definition), "type": "string", "format": "int-or-string"}
    if name == _QUANTITY:
        return {**_described(definition), "type": "string"}
    return _Writer(V2_ROOT, is_v3=False).definition(name, definition)


def to_v3(name: str, definition: Object) -> Object:
    """Return a definition as OpenAPI v3 writes it."""
    if name == _INT_OR_STRING:
        one_of: list[Object] = [{"type": "integer"}, {"type": "string"}]
        return {**_described(definition), "format": "int-or-string", "oneOf": one_of}
    if name == _QUANTITY:
        return {**_described(definition), "oneOf": [{"type": "string"}, {"type": "number"}]}
    return _Writer(V3_ROOT, is_v3=True).definition(name, definition)


def _described(definition: Object) -> Object:
    return {"description": definition["description"]} if "description" in definition else {}


class _Writer:
    """Rewrites schemas for one version of OpenAPI."""

    def __init__(self, root: str, *, is_v3: bool) -> None:
        self._root = root
        self._is_v3 = is_v3

    def definition(self, name: str, definition: Object) -> Object:
        owner, out = name.rpartition(".")[2], self._object(definition)
        for field, schema in out.get("properties", {}).items():
            if field in ("apiVersion", "kind"):
                schema.pop("enum", None)
            default = _DEFAULTS.get((owner, field))
            if default is not None:
                schema["default"] = default
        return out

    def _schema(self, schema: Any) -> Any:
        if not isinstance(schema, dict):
            return schema
        if "$ref" in schema:
            return self._reference(schema)
        return self._object(schema)

    def _object(self, schema: Object) -> Object:
        out: Object = {}
        for key, value in schema.items():
            if key == "type":
                out[key] = next((one for one in value if one != "null"), "") if isinstance(value, list) else value
            elif key in ("items", "additionalProperties"):
                out[key] = self._schema(value)
            elif key == "properties":
                out[key] = {field: self._schema(inner) for field, inner in value.items()}
            else:
                out[key] = value
        return out

    def _reference(self, schema: Object) -> Object:
        reference = {"$ref": self._root + schema["$ref"].rpartition("/")[2]}
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        if not rest:
            return reference
        return {"allOf": [reference], **rest} if self._is_v3 else {**reference, **rest}
