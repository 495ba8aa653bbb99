"""Lists that are sets or maps: no element twice. And objects within objects: they need an apiVersion and a kind.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema: listtype/validation.go, objectmeta/validation.go (v1.37).
"""

import json
from typing import Any

from knarr.api import field, names
from knarr.api.field import FieldError, Path
from knarr.api.structural.schema import Node
from knarr.api.validation import meta
from knarr.api.validation.collector import Errors


def check_lists(value: Any, node: Node | None, path: str = "") -> list[FieldError]:
    """Return the duplicates in lists of type "set" and "map".

    Args:
        value: The object, or a part of it.
        node: Its schema.
        path: Where it is.
    """
    found: list[FieldError] = []
    _walk_lists(value, node, path, found)
    return found


def _walk_lists(value: Any, node: Node | None, path: str, found: list[FieldError]) -> None:
    if node is None:
        return
    if isinstance(value, dict):
        for name, item in value.items():
            inner = node.child(name)
            if inner is not None and isinstance(item, dict | list):
                _walk_lists(item, inner, f"{path}.{name}" if path else name, found)
    elif isinstance(value, list):
        if node.list_type in ("set", "map"):
            _duplicates(value, node, path, found)
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _walk_lists(item, node.items, f"{path}[{index}]", found)


def _duplicates(items: list[Any], node: Node, path: str, found: list[FieldError]) -> None:
    seen: set[str] = set()
    for index, item in enumerate(items):
        shown = item
        if node.list_type == "map":
            if not isinstance(item, dict):
                continue
            inner = node.items.properties if node.items is not None else {}
            shown = {}
            for key in node.list_map_keys:
                default = inner[key].default if key in inner else None
                if item.get(key, default) is not None:
                    shown[key] = item.get(key, default)
        text = json.dumps(shown, sort_keys=True)
        if text in seen:
            found.append(field.duplicate(Path(path).index(index), shown))
        seen.add(text)


def check_embedded(value: Any, node: Node | None, path: str = "", *, is_root: bool = True) -> list[FieldError]:
    """Return what is wrong with the apiVersion, kind and metadata of objects within an object."""
    found: list[FieldError] = []
    _walk_embedded(value, node, path, found, is_root=is_root)
    return found


def _walk_embedded(value: Any, node: Node | None, path: str, found: list[FieldError], *, is_root: bool) -> None:
    if node is None:
        return
    if isinstance(value, dict):
        if node.embedded and not is_root:
            _check_object(value, path, found)
        for name, item in value.items():
            inner = node.child(name)
            if inner is not None and isinstance(item, dict | list):
                _walk_embedded(item, inner, f"{path}.{name}" if path else name, found, is_root=False)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, dict | list):
                _walk_embedded(item, node.items, f"{path}[{index}]", found, is_root=False)


def _check_object(obj: dict[str, Any], path: str, found: list[FieldError]) -> None:
    here = Path(path)
    version, kind = obj.get("apiVersion"), obj.get("kind")
    if not isinstance(version, str) or not version:
        found.append(field.required(here.child("apiVersion"), "must not be empty"))
    elif version.count("/") > 1:
        found.append(field.invalid(here.child("apiVersion"), version, f"unexpected GroupVersion string: {version}"))
    if not isinstance(kind, str) or not kind:
        found.append(field.required(here.child("kind"), "must not be empty"))
    elif names.dns_label_1035(kind.lower()):
        words = ",".join(names.dns_label_1035(kind.lower()))
        found.append(
            field.invalid(here.child("kind"), kind, f"may have mixed case, but should otherwise match: {words}")
        )
    metadata = obj.get("metadata")
    if isinstance(metadata, dict):
        errors = Errors()
        namespaced = bool(metadata.get("namespace"))
        meta.check_create(
            errors, {"name": "fakename", **metadata}, names.name_is_path_segment, namespaced=namespaced, built_in=False
        )
        found += [FieldError(one.type, Path(f"{path}.{one.path}"), one.value, one.detail) for one in errors.distinct()]
