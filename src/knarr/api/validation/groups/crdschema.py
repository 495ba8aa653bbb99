"""Structural schemas: what the schema of a custom resource may say, so that it can be pruned, defaulted and owned by field.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/validation.go and ValidateCustomResourceDefinitionOpenAPISchema (v1.37).
"""

from typing import Any

from knarr.api.validation.collector import Errors, Object

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_LIST_TYPES = ("atomic", "map", "set")
_MAP_TYPES = ("atomic", "granular")
_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_EMBEDDED = "x-kubernetes-embedded-resource"
_LIST_TYPE = "x-kubernetes-list-type"
_MAP_TYPE = "x-kubernetes-map-type"
_KEYS = "x-kubernetes-list-map-keys"
_NOT_IN_JUNCTORS = ("type", "default", "title", "description", "nullable", "additionalProperties", _PRESERVE, _EMBEDDED)


def check(errors: Errors, schema: Object, path: str) -> None:
    """Check the schema of one version."""
    kind = schema.get("type") or ""
    if not kind:
        errors.required(f"{path}.type", "must not be empty at the root")
    elif kind != "object":
        errors.invalid(f"{path}.type", kind, "must be object at the root")
    if schema.get("nullable"):
        errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    if schema.get("uniqueItems"):
        errors.forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    _node(errors, schema, path, where="")


def _node(errors: Errors, schema: Object, path: str, where: str) -> None:
    """Check one node; `where` says what it is of, for the message about a missing type; "" at the root."""
    if not isinstance(schema, dict):
        errors.invalid(path, schema, "must be an object")
        return
    kind = schema.get("type") or ""
    if where and not kind and not schema.get(_INT_OR_STRING) and not schema.get(_PRESERVE):
        errors.required(f"{path}.type", f"must not be empty for {where}")
    elif kind and kind not in _TYPES:
        errors.unsupported(f"{path}.type", kind, _TYPES)
    _extensions(errors, schema, kind, path)
    _general(errors, schema, path)
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    if properties and additional is not None:
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if additional is False:
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    for name, inner in properties.items():
        _node(errors, inner or {}, f"{path}.properties[{name}]", "specified object fields")
    if isinstance(additional, dict):
        _node(errors, additional, f"{path}.additionalProperties", "specified object fields")
    items = schema.get("items")
    if isinstance(items, list):
        errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    elif items is not None:
        _node(errors, items, f"{path}.items", "specified array items")
    elif kind == "array":
        errors.required(f"{path}.items", "must be specified")
    for junctor in _JUNCTORS:
        for index, inner in enumerate(schema.get(junctor) or ()):
            _junctor(errors, inner or {}, f"{path}.{junctor}[{index}]", allowed=bool(schema.get(_INT_OR_STRING)))
    if schema.get("not") is not None:
        _junctor(errors, schema["not"], f"{path}.not", allowed=False)


def _general(errors: Errors, schema: Object, path: str) -> None:
    for field in ("$ref", "definitions", "dependencies", "id", "patternProperties", "additionalItems"):
        if schema.get(field) is not None:
            shown = f"{path}.{field}"
            words = f"{field} is not supported" if field != "id" else "id is not supported"
            errors.forbidden(shown, words)


def _junctor(errors: Errors, schema: Object, path: str, *, allowed: bool) -> None:
    """Check a schema below a logical junctor, which may only restrict values."""
    for field in _NOT_IN_JUNCTORS:
        if field == "type" and allowed:
            continue
        value: Any = schema.get(field)
        if value:
            errors.forbidden(
                f"{path}.{field}",
                "must be empty to be structural" if field == "type" else "must be undefined to be structural",
            )
    for name, inner in (schema.get("properties") or {}).items():
        _junctor(errors, inner or {}, f"{path}.properties[{name}]", allowed=False)
    if isinstance(schema.get("items"), dict):
        _junctor(errors, schema["items"], f"{path}.items", allowed=False)


def _extensions(errors: Errors, schema: Object, kind: str, path: str) -> None:
    if schema.get(_PRESERVE) is False:
        errors.invalid(f"{path}.{_PRESERVE}", False, "must be true or undefined")
    if schema.get(_EMBEDDED):
        if kind != "object":
            errors.invalid(f"{path}.type", kind, f"must be object if {_EMBEDDED} is true")
        if not schema.get("properties") and not schema.get(_PRESERVE) and not schema.get("additionalProperties"):
            errors.required(f"{path}.properties", f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}")
    if schema.get(_INT_OR_STRING) and kind:
        errors.forbidden(f"{path}.type", f"must be empty if {_INT_OR_STRING} is true")
    list_type, map_type, keys = schema.get(_LIST_TYPE), schema.get(_MAP_TYPE), schema.get(_KEYS) or []
    if list_type is not None:
        if kind != "array":
            errors.invalid(f"{path}.type", kind, f"must be array if {_LIST_TYPE} is specified")
        if list_type not in _LIST_TYPES:
            errors.unsupported(f"{path}.{_LIST_TYPE}", list_type, _LIST_TYPES)
    if map_type is not None:
        if kind != "object":
            errors.invalid(f"{path}.type", kind, f"must be object if {_MAP_TYPE} is specified")
        if map_type not in _MAP_TYPES:
            errors.unsupported(f"{path}.{_MAP_TYPE}", map_type, _MAP_TYPES)
    if keys and list_type != "map":
        errors.invalid(f"{path}.{_LIST_TYPE}", list_type, f"must be map if {_KEYS} is non-empty")
    if list_type == "map":
        _map_list(errors, schema, keys, path)


def _map_list(errors: Errors, schema: Object, keys: list[str], path: str) -> None:
    if not keys:
        errors.required(f"{path}.{_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    items = schema.get("items")
    if not isinstance(items, dict):
        errors.required(f"{path}.items", f"must have a schema if {_LIST_TYPE} is map")
        return
    if items.get("type") != "object":
        errors.invalid(
            f"{path}.items.type", items.get("type") or "", f"must be object if parent array's {_LIST_TYPE} is map"
        )
    required, properties = items.get("required") or (), items.get("properties") or {}
    for index, key in enumerate(keys):
        inner = properties.get(key)
        if inner is None:
            words = "entries must all be names of item properties"
            errors.invalid(f"{path}.{_KEYS}[{index}]", key, words)
        elif inner.get("type") in {"array", "object"}:
            errors.invalid(
                f"{path}.items.properties[{key}].type",
                inner["type"],
                f"must be a scalar type if parent array's {_LIST_TYPE} is map",
            )
        elif key not in required and inner.get("default") is None:
            words = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            errors.required(f"{path}.items.properties[{key}].default", words)
    if len(set(keys)) < len(keys):
        errors.invalid(f"{path}.{_KEYS}", keys, "must not contain duplicate entries")
