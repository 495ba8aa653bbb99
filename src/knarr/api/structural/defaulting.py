"""Defaults of a schema, and nulls that mean nothing.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting: algorithm.go, prunenulls.go (v1.37).
"""

from typing import Any

import msgspec

from knarr.api.structural.schema import Node


def set_defaults(value: Any, node: Node | None) -> None:
    """Drop nulls where the schema knows no null, then fill in defaults, in place."""
    if node is None:
        return
    if isinstance(value, dict):
        _into_map(value, node)
    elif isinstance(value, list) and node.items is not None:
        items = node.items
        for index, item in enumerate(value):
            if item is None and not items.nullable and items.default is not None:
                value[index] = _copy(items.default)
            set_defaults(value[index], items)


def _into_map(value: dict[str, Any], node: Node) -> None:
    for name, inner in node.properties.items():
        item = value.get(name)
        if item is not None:
            if isinstance(item, dict | list):
                set_defaults(item, inner)
        elif name not in value or not inner.nullable:
            if inner.default is not None:
                value[name] = _copy(inner.default)
                set_defaults(value[name], inner)
            elif name in value:
                del value[name]
    more = node.additional
    if more is None:
        return
    for name in [name for name in value if name not in node.properties]:
        item = value[name]
        if item is None and not more.nullable:
            if more.default is None:
                del value[name]
                continue
            item = value[name] = _copy(more.default)
        if isinstance(item, dict | list):
            set_defaults(item, more)


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value)) if isinstance(value, dict | list) else value
