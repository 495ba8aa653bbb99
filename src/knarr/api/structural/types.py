"""Schemas as the types that field ownership walks: which lists and maps are owned part by part.

Source: k8s.io/kube-openapi/pkg/schemaconv and k8s.io/apimachinery/pkg/util/managedfields typeconverter (v1.37).
"""

from collections.abc import Mapping

from knarr.api.schema import Type, built_in
from knarr.api.structural.schema import Node

OBJECT_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_SCALARS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_TEXT = Type("scalar", scalar="string")


def to_type(node: Node) -> Type:
    """Return the type of a whole custom resource."""
    return Type("object", expand=lambda: _fields(node, has_meta=True), preserve_unknown=node.preserve_unknown)


def object_meta() -> Type:
    """Return the type of metadata."""
    return built_in().get(OBJECT_META)


def _fields(node: Node, *, has_meta: bool) -> Mapping[str, Type]:
    fields = {name: _type(inner) for name, inner in node.properties.items()}
    if has_meta:
        fields |= {"apiVersion": _TEXT, "kind": _TEXT, "metadata": object_meta()}
    return fields


def _type(node: Node) -> Type:
    if node.int_or_string:
        return Type("intstr", default=node.default, pointer=True)
    if node.type == "array":
        return Type(
            "list",
            element=_type(node.items) if node.items is not None else Type("any"),
            list_type=node.list_type,
            list_map_keys=node.list_map_keys,
            pointer=True,
        )
    if node.type in _SCALARS:
        return Type("scalar", scalar=_SCALARS[node.type], default=node.default, pointer=True)
    if node.is_map and not node.properties:
        element = _type(node.additional) if node.additional is not None else Type("any")
        return Type("map", element=element, map_type=node.map_type, pointer=True)
    if node.type == "object" and (node.properties or node.embedded or not node.preserve_unknown):
        return Type(
            "object",
            expand=lambda: _fields(node, has_meta=node.embedded),
            preserve_unknown=node.preserve_unknown,
            map_type=node.map_type,
            pointer=True,
        )
    return Type("any", map_type=node.map_type)
