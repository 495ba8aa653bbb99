"""ConfigMaps and Secrets.

Source: ValidateConfigMap and ValidateSecret in k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import base64
import binascii
import json
from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable

MAX_BYTES = 1024 * 1024
_WHEN_IMMUTABLE = "field is immutable when `immutable` is set"
_ACCOUNT = "kubernetes.io/service-account.name"
_DOCKER = {
    "kubernetes.io/dockercfg": ".dockercfg",
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
}

_JSON_NAMES = {list: "array", str: "string", int: "number", float: "number", bool: "bool"}


def config_map(errors: Errors, obj: Object) -> None:
    """Check a ConfigMap."""
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    size = 0
    for key, value in data.items():
        errors.all_invalid(f"data[{key}]", key, names.config_map_key(key))
        if key in binary:
            errors.invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
        size += len(value.encode())
    for key, value in binary.items():
        errors.all_invalid(f"binaryData[{key}]", key, names.config_map_key(key))
        size += _decoded_bytes(value)
    if size > MAX_BYTES:
        errors.too_long("[]", MAX_BYTES)  # upstream's name for the whole object


def config_map_update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a ConfigMap."""
    _stays(errors, obj, old, "data", "binaryData")
    config_map(errors, obj)


def _stays(errors: Errors, obj: Object, old: Object, *fields: str) -> None:
    if not old.get("immutable"):
        return
    if not obj.get("immutable"):
        errors.forbidden("immutable", _WHEN_IMMUTABLE)
    for field in fields:
        if (obj.get(field) or {}) != (old.get(field) or {}):
            errors.forbidden(field, _WHEN_IMMUTABLE)


def _decoded_bytes(text: str | None) -> int:
    text = text or ""
    return len(text) * 3 // 4 - text[-2:].count("=")


def secret(errors: Errors, obj: Object) -> None:
    """Check a Secret."""
    data, kind = obj.get("data") or {}, obj.get("type") or ""
    size = 0
    for key, value in data.items():
        errors.all_invalid(f"data[{key}]", key, names.config_map_key(key))
        size += _decoded_bytes(value)
    if size > MAX_BYTES:
        errors.too_long("data", MAX_BYTES)
    if kind == "kubernetes.io/service-account-token":
        if not ((obj.get("metadata") or {}).get("annotations") or {}).get(_ACCOUNT):
            errors.required(f"metadata.annotations[{_ACCOUNT}]")
    elif kind in _DOCKER:
        _docker(errors, data, _DOCKER[kind])
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            errors.required("data[username]")
            errors.required("data[password]")
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            errors.required("data[ssh-privatekey]")
    elif kind == "kubernetes.io/tls":
        for key in ("tls.crt", "tls.key"):
            if key not in data:
                errors.required(f"data[{key}]")


def _docker(errors: Errors, data: Mapping[str, str], key: str) -> None:
    if key not in data:
        errors.required(f"data[{key}]")
        return
    words = ""
    try:
        value = json.loads(base64.b64decode(data[key] or ""))
        if not isinstance(value, dict | None):
            words = f"json: cannot unmarshal {_JSON_NAMES[type(value)]} into Go value of type map[string]interface {{}}"
    except binascii.Error as err:
        words = str(err)
    except ValueError as err:
        words = str(err) if data[key] else "unexpected end of JSON input"
    if words:
        errors.invalid(f"data[{key}]", "<secret contents redacted>", words)


def secret_update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a Secret."""
    immutable(errors, "type", obj.get("type"), old.get("type"))
    _stays(errors, obj, old, "data")
    secret(errors, obj)
