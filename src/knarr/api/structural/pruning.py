"""Pruning: fields that the schema does not know go.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning/algorithm.go (v1.37).
"""

from typing import Any

from knarr.api.structural.schema import META_FIELDS, Node


def prune(obj: dict[str, Any], node: Node) -> list[str]:
    """Remove unknown fields in place.

    Args:
        obj: A whole custom resource.
        node: Its schema.

    Returns:
        The paths of what went, such as "spec.colour".
    """
    gone: list[str] = []
    _prune(obj, node, "", gone, is_root=True)
    return gone


def prune_value(value: Any, node: Node) -> list[str]:
    """Remove unknown fields of a part of an object, such as a default."""
    gone: list[str] = []
    _prune(value, node, "", gone)
    return gone


def _prune(value: Any, node: Node | None, path: str, gone: list[str], *, is_root: bool = False) -> None:
    if isinstance(value, dict):
        _prune_map(value, node, path, gone, is_root=is_root)
    elif isinstance(value, list):
        items = node.items if node is not None else None
        if items is None and node is not None and node.preserve_unknown:
            return
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _prune(item, items, f"{path}[{index}]", gone)


def _prune_map(value: dict[str, Any], node: Node | None, path: str, gone: list[str], *, is_root: bool) -> None:
    unknown: list[str] = []
    keeps = node is not None and node.preserve_unknown
    has_meta = node is not None and (is_root or node.embedded)
    for key, item in value.items():
        if has_meta and key in META_FIELDS:
            continue
        inner = node.properties.get(key) if node is not None else None
        if inner is None and (node is None or not node.is_map):
            if not keeps:
                unknown.append(key)
            continue
        if inner is None:
            assert node is not None
            inner = node.additional
            if inner is None and keeps:
                continue
        if isinstance(item, dict | list):
            _prune(item, inner, f"{path}.{key}" if path else key, gone)
    for key in unknown:
        del value[key]
        gone.append(f"{path}.{key}" if path else key)
