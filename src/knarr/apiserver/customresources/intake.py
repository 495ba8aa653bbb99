"""A custom object from a request's body: pruned, checked for unknown fields, with defaults.

Source: schemaCoercingDecoder and unstructuredDefaulter in k8s.io/apiextensions-apiserver/pkg/apiserver/customresource_handler.go,
pkg/apiserver/schema/objectmeta/coerce.go (v1.37).
"""

from typing import Any

from knarr.api import codec, schema, structural
from knarr.api.structural.schema import Node
from knarr.api.structural.types import object_meta
from knarr.apiserver.customresources.definitions import Version

Object = dict[str, Any]


def settle(version: Version, obj: Object) -> tuple[Object, list[str]]:
    """Prune and default an object.

    Args:
        version: Its kind and version.
        obj: As decoded; it is changed.

    Returns:
        The object, and what strict validation complains about.

    Raises:
        BadRequest: its metadata has a field of a wrong type.
    """
    complaints: list[str] = []
    metadata = obj.get("metadata")
    if metadata is not None:
        try:
            converted = schema.convert({"metadata": metadata}, _WITH_METADATA)
        except schema.DecodeError as err:
            kind = version.resource.kind
            raise codec.cannot_handle(kind, version.resource.version, kind, err) from err
        obj["metadata"] = converted.object.get("metadata") or {}
        complaints += converted.unknown
    complaints += [f'unknown field "{path}"' for path in structural.prune(obj, version.node)]
    _coerce_embedded(obj, version.node, is_root=True)
    structural.set_defaults(obj, version.node)
    return obj, complaints


_WITH_METADATA = schema.Type("object", expand=lambda: {"metadata": object_meta()})


def _coerce_embedded(value: Any, node: Node | None, *, is_root: bool = False) -> None:
    """Drop what is no metadata from the metadata of objects within the object."""
    if node is None:
        return
    if isinstance(value, dict):
        if node.embedded and not is_root and isinstance(value.get("metadata"), dict):
            try:
                value["metadata"] = schema.normalize(value["metadata"], object_meta())
            except schema.DecodeError:
                known = object_meta().fields
                value["metadata"] = {key: one for key, one in value["metadata"].items() if key in known}
        for name, item in value.items():
            if isinstance(item, dict | list):
                _coerce_embedded(item, node.child(name))
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, dict | list):
                _coerce_embedded(item, node.items)
