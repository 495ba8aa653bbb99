"""What a schema of a CustomResourceDefinition must be like: structural, within the supported part of JSON schema, defaults valid.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/schema/validation.go, schema/defaulting/validation.go, and
pkg/apis/apiextensions/validation/validation.go: ValidateCustomResourceDefinitionOpenAPISchema (v1.37).
"""

import json
from collections.abc import Mapping
from typing import Any

import re2

from knarr.api import schema
from knarr.api.structural import listtypes
from knarr.api.structural.pruning import prune_value
from knarr.api.structural.schema import Node
from knarr.api.structural.validation import Validator, compile_pattern
from knarr.api.validation.collector import Errors

Object = Mapping[str, Any]

MAX_DEPTH = 100
_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_UNSUPPORTED = {
    "$ref": "$ref is not supported",
    "id": "id is not supported",
    "definitions": "definitions is not supported",
    "dependencies": "dependencies is not supported",
    "patternProperties": "patternProperties is not supported",
    "additionalItems": "additionalItems is not supported",
}
_JUNCTORS = ("allOf", "anyOf", "oneOf")
_NOT_IN_VALUES = {
    "description": "empty",
    "type": "empty",
    "default": "undefined",
    "title": "empty",
    "nullable": "false",
    "additionalProperties": "undefined",
}
_EXTENSIONS_NOT_IN_VALUES = (
    "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys", "x-kubernetes-list-type", "x-kubernetes-map-type", "x-kubernetes-validations",
)  # fmt: skip
_AT_ROOT_WITH_STATUS = frozenset(
    {
        "description", "type", "format", "title", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum", "maxLength",
        "minLength", "pattern", "maxItems", "minItems", "uniqueItems", "multipleOf", "required", "enum", "items", "properties",
        "externalDocs", "example", "x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations",
    }
)  # fmt: skip


def check_schema(errors: Errors, raw: Object, path: str, *, has_status: bool) -> bool:
    """Check the root schema of a version.

    Args:
        errors: Receives what is wrong.
        raw: `openAPIV3Schema`.
        path: Where it is.
        has_status: Whether the status is a subresource.

    Returns:
        Whether the schema can be compiled and its defaults and rules looked at.
    """
    before = len(errors.found)
    if has_status:
        _check_root_with_status(errors, raw, path)
    if raw.get("type") != "object":
        if raw.get("type"):
            errors.invalid(f"{path}.type", raw["type"], "must be object at the root")
        else:
            errors.required(f"{path}.type", "must not be empty at the root")
    if raw.get("nullable"):
        errors.forbidden(f"{path}.nullable", "nullable cannot be true at the root")
    if _check_supported(errors, raw, path, 0):
        _check_structural(errors, raw, path, "root")
        _check_metadata(errors, raw, path)
    return len(errors.found) == before


def _check_root_with_status(errors: Errors, raw: Object, path: str) -> None:
    if any(value and name not in _AT_ROOT_WITH_STATUS for name, value in raw.items()):
        listed = "[Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
        listed += "MaxItems MinItems UniqueItems MultipleOf Required Enum Items Properties ExternalDocs Example "
        listed += "XPreserveUnknownFields XValidations]"
        words = f"only {listed} fields are allowed at the root of the schema if the status subresource is enabled"
        errors.invalid(path, dict(raw), words)


def _check_supported(errors: Errors, raw: Object, path: str, depth: int) -> bool:
    """Check one schema and all below it against what is supported at all; return whether all of it are schemas."""
    if depth > MAX_DEPTH:
        errors.forbidden(path, f"must not be nested deeper than {MAX_DEPTH} schemas")
        return False
    for name, words in _UNSUPPORTED.items():
        if raw.get(name):
            errors.forbidden(f"{path}.{name}", words)
    kind = raw.get("type")
    if kind == "null":
        errors.forbidden(f"{path}.type", "type cannot be set to null, use nullable as an alternative")
    elif kind and kind not in _TYPES:
        errors.unsupported(f"{path}.type", kind, _TYPES)
    if raw.get("uniqueItems"):
        errors.forbidden(
            f"{path}.uniqueItems", "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        )
    more = raw.get("additionalProperties")
    if more is False:
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties cannot be set to false")
    elif more is not None and more is not True and raw.get("properties"):
        errors.forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if isinstance(raw.get("items"), list):
        errors.forbidden(f"{path}.items", "items must be a schema object and not an array")
    _check_pattern(errors, raw, path)
    _check_extensions(errors, raw, path)
    are_schemas = True
    for inner, where in _below(raw, path):
        try:
            schema.check(dict(inner), _props())
        except schema.DecodeError as err:
            errors.invalid(where, dict(inner), str(err))
            are_schemas = False
            continue
        are_schemas = _check_supported(errors, inner, where, depth + 1) and are_schemas
    return are_schemas


def _props() -> schema.Type:
    return schema.built_in().get("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")


def _below(raw: Object, path: str) -> list[tuple[Object, str]]:
    found = [(inner, f"{path}.properties[{name}]") for name, inner in (raw.get("properties") or {}).items()]
    for name in ("items", "additionalProperties", "not"):
        if isinstance(raw.get(name), Mapping):
            found.append((raw[name], f"{path}.{name}"))
    for name in _JUNCTORS:
        found += [(inner, f"{path}.{name}[{index}]") for index, inner in enumerate(raw.get(name) or ())]
    return [(inner, where) for inner, where in found if isinstance(inner, Mapping)]


def _check_pattern(errors: Errors, raw: Object, path: str) -> None:
    pattern = raw.get("pattern")
    if pattern:
        try:
            compile_pattern(pattern)
        except re2.error as err:
            words = f"must be a valid regular expression, but isn't: error parsing regexp: {_words(err)}"
            errors.invalid(f"{path}.pattern", pattern, words)


def _words(err: Exception) -> str:
    text = err.args[0] if err.args else ""
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)


def _check_extensions(errors: Errors, raw: Object, path: str) -> None:
    for name in ("preserve-unknown-fields", "embedded-resource", "int-or-string"):
        name = f"x-kubernetes-{name}"
        if raw.get(name) is False and name.endswith("fields"):
            errors.invalid(f"{path}.{name}", False, "must be true or undefined")
    if raw.get("x-kubernetes-embedded-resource"):
        if raw.get("type") != "object":
            words = "must be object if x-kubernetes-embedded-resource is true"
            if raw.get("type"):
                errors.invalid(f"{path}.type", raw["type"], words)
            else:
                errors.required(f"{path}.type", words)
        if not raw.get("x-kubernetes-preserve-unknown-fields") and not raw.get("properties"):
            words = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"
            errors.required(f"{path}.properties", words)
    _check_list_type(errors, raw, path)
    map_type = raw.get("x-kubernetes-map-type")
    if map_type is not None:
        if raw.get("type") != "object":
            words = "must be object if x-kubernetes-map-type is specified"
            errors.invalid(f"{path}.type", raw.get("type") or "", words)
        if map_type not in ("granular", "atomic"):
            errors.unsupported(f"{path}.x-kubernetes-map-type", map_type, ("atomic", "granular"))


def _check_list_type(errors: Errors, raw: Object, path: str) -> None:
    list_type, keys = raw.get("x-kubernetes-list-type"), raw.get("x-kubernetes-list-map-keys")
    if list_type is not None:
        if raw.get("type") != "array":
            words = "must be array if x-kubernetes-list-type is specified"
            if raw.get("type"):
                errors.invalid(f"{path}.type", raw["type"], words)
            else:
                errors.required(f"{path}.type", words)
        if list_type not in ("atomic", "set", "map"):
            errors.unsupported(f"{path}.x-kubernetes-list-type", list_type, ("atomic", "map", "set"))
    if keys and list_type != "map":
        words = "must be map if x-kubernetes-list-map-keys is non-empty"
        if list_type:
            errors.invalid(f"{path}.x-kubernetes-list-type", list_type, words)
        else:
            errors.required(f"{path}.x-kubernetes-list-type", words)
    items = raw.get("items")
    if list_type == "map":
        _check_map_keys(errors, items if isinstance(items, Mapping) else None, keys or [], path)
    elif list_type == "set" and isinstance(items, Mapping):
        _check_set_items(errors, items, path)


def _check_map_keys(errors: Errors, items: Object | None, keys: list[str], path: str) -> None:
    if not keys:
        errors.required(f"{path}.x-kubernetes-list-map-keys", "must not be empty if x-kubernetes-list-type is map")
    if items is None:
        errors.required(f"{path}.items", "must have a schema if x-kubernetes-list-type is map")
        return
    if items.get("type") != "object":
        words = "must be object if parent array's x-kubernetes-list-type is map"
        errors.invalid(f"{path}.items.type", items.get("type") or "", words)
    properties, seen = items.get("properties") or {}, set()
    for index, key in enumerate(keys):
        where = f"{path}.x-kubernetes-list-map-keys[{index}]"
        inner = properties.get(key)
        if inner is None:
            errors.invalid(where, key, "entries must all be names of item properties")
        elif inner.get("type") in ("array", "object"):
            words = "must be a scalar type if parent array's x-kubernetes-list-type is map"
            errors.invalid(f"{path}.items.properties[{key}].type", inner["type"], words)
        elif inner.get("default") is None and key not in (items.get("required") or ()):
            words = (
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            )
            errors.required(f"{path}.items.properties[{key}].default", words)
        if inner is not None and inner.get("nullable"):
            words = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"
            errors.forbidden(f"{path}.items.properties[{key}].nullable", words)
        if key in seen:
            errors.duplicate(where, key)
        seen.add(key)


def _check_set_items(errors: Errors, items: Object, path: str) -> None:
    if items.get("nullable"):
        words = "cannot be nullable when x-kubernetes-list-type is set"
        errors.forbidden(f"{path}.items.nullable", words)
    if items.get("type") == "array" and items.get("x-kubernetes-list-type") not in (None, "atomic"):
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        errors.invalid(f"{path}.items.x-kubernetes-list-type", items["x-kubernetes-list-type"], words)
    if items.get("type") == "object" and items.get("x-kubernetes-map-type") != "atomic":
        words = "must be atomic as item of a list with x-kubernetes-list-type=set"
        errors.invalid(f"{path}.items.x-kubernetes-map-type", items.get("x-kubernetes-map-type"), words)


def _check_structural(errors: Errors, raw: Object, path: str, level: str) -> None:
    """Check that a schema describes one structure: a type at every place, value validations apart from it."""
    is_int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
    preserves = bool(raw.get("x-kubernetes-preserve-unknown-fields"))
    kind = raw.get("type") or ""
    if is_int_or_string:
        if kind:
            errors.forbidden(f"{path}.type", "must be empty if x-kubernetes-int-or-string is true")
        if preserves:
            words = "must be false if x-kubernetes-int-or-string is true"
            errors.forbidden(f"{path}.x-kubernetes-preserve-unknown-fields", words)
    elif not kind and not preserves and level != "root":
        of_what = "array items" if level == "item" else "object fields"
        errors.required(f"{path}.type", f"must not be empty for specified {of_what}")
    if kind == "array" and raw.get("items") is None:
        errors.required(f"{path}.items", "must be specified")
    for name, inner in (raw.get("properties") or {}).items():
        _check_structural(errors, inner, f"{path}.properties[{name}]", "field")
    if isinstance(raw.get("items"), Mapping):
        _check_structural(errors, raw["items"], f"{path}.items", "item")
    if isinstance(raw.get("additionalProperties"), Mapping):
        _check_structural(errors, raw["additionalProperties"], f"{path}.additionalProperties", "field")
    for inner, where in _below({name: raw[name] for name in (*_JUNCTORS, "not") if name in raw}, path):
        is_allowed = is_int_or_string and where.startswith((f"{path}.anyOf", f"{path}.allOf"))
        _check_values(errors, inner, where, raw, path, skip_type=is_allowed)


def _check_values(errors: Errors, raw: Object, path: str, outer: Object, at: str, *, skip_type: bool = False) -> None:
    """Check a value validation: it may say nothing of the structure, and speak of nothing that the structure does not have."""
    for name, state in _NOT_IN_VALUES.items():
        if raw.get(name) and not (name == "type" and skip_type):
            errors.forbidden(f"{path}.{name}", f"must be {state} to be structural")
    for name in _EXTENSIONS_NOT_IN_VALUES:
        if raw.get(name):
            errors.forbidden(
                f"{path}.{name}",
                "must be false to be structural" if raw[name] is True else "must be undefined to be structural",
            )
    properties = outer.get("properties") or {}
    for name, inner in (raw.get("properties") or {}).items():
        where, there = f"{path}.properties[{name}]", f"{at}.properties[{name}]"
        if name in properties:
            _check_values(errors, inner, where, properties[name], there)
        elif not isinstance(outer.get("additionalProperties"), Mapping) and not (
            outer.get("x-kubernetes-embedded-resource") and name in ("apiVersion", "kind", "metadata")
        ):
            errors.required(there, f"because it is defined in {where}")
    items = raw.get("items")
    if isinstance(items, Mapping):
        if isinstance(outer.get("items"), Mapping):
            _check_values(errors, items, f"{path}.items", outer["items"], f"{at}.items")
        else:
            errors.required(f"{at}.items", f"because it is defined in {path}.items")
    for inner, where in _below({name: raw[name] for name in (*_JUNCTORS, "not") if name in raw}, path):
        _check_values(errors, inner, where, outer, at, skip_type=skip_type)


def _check_metadata(errors: Errors, raw: Object, path: str) -> None:
    properties = raw.get("properties") or {}
    for name in ("apiVersion", "kind"):
        if name in properties and properties[name].get("type") not in ("string", None, ""):
            errors.invalid(f"{path}.properties[{name}].type", properties[name]["type"], "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    where = f"{path}.properties[metadata]"
    if metadata.get("type") not in ("object", None, ""):
        errors.invalid(f"{where}.type", metadata["type"], "must be object")
    known = {"type", "properties", "description"}
    inner = metadata.get("properties") or {}
    if any(value for name, value in metadata.items() if name not in known) or set(inner) - {"name", "generateName"}:
        words = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        errors.forbidden(where, words)


def check_defaults(errors: Errors, node: Node, path: str) -> None:
    """Check that every default is pruned already and fits its own schema."""
    if node.default is not None:
        where = f"{path}.default"
        copied = json.loads(json.dumps(node.default))
        gone = prune_value(copied, node)
        if gone:
            words = f"must not have unknown fields, but has {', '.join(gone)}"
            errors.invalid(where, node.default, words)
        else:
            found = Validator(node.raw).validate(node.default, where)
            found += listtypes.check_lists(node.default, node, where)
            errors.found += found
    for name, inner in node.properties.items():
        check_defaults(errors, inner, f"{path}.properties[{name}]")
    if node.items is not None:
        check_defaults(errors, node.items, f"{path}.items")
    if node.additional is not None:
        check_defaults(errors, node.additional, f"{path}.additionalProperties")
