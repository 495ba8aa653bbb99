"""From kubectl's client-side apply to server-side apply: the last-applied annotation lets kubectl take its own fields back.

Client-side apply left a copy of its configuration in an annotation. Fields that still are as it says belong to kubectl, so that
a first server-side apply by "kubectl" does not conflict over them; afterwards the annotation is kept up to date.

Source: lastappliedmanager.go and lastappliedupdater.go in k8s.io/apimachinery/pkg/util/managedfields/internal (v1.37).
"""

from typing import Any

import msgspec

from knarr.api.managedfields.compare import compare
from knarr.api.managedfields.fieldset import FieldSet, difference
from knarr.api.managedfields.values import field_set
from knarr.api.schema.types import Type

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
_MAX_BYTES = 256 * 1024

Object = dict[str, Any]


def owned(live: Object, definition: Type, api_version: str) -> FieldSet:
    """Return the fields that the annotation of an object says kubectl owns: those still as it applied them."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
    if not isinstance(text, str):
        return {}
    try:
        last = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return {}
    if not isinstance(last, dict) or last.get("apiVersion") != api_version:
        return {}
    found = compare(last, live, definition)
    return difference(difference(field_set(last, definition), found.changed), found.removed)


def refresh(obj: Object, applied: Object) -> Object:
    """Return the object with its annotation, if it has one, brought up to the configuration that was applied."""
    meta = obj.get("metadata") or {}
    annotations = meta.get("annotations") or {}
    if not annotations.get(ANNOTATION):
        return obj
    applied_meta = applied.get("metadata") or {}
    kept = {key: value for key, value in (applied_meta.get("annotations") or {}).items() if key != ANNOTATION}
    configuration = {**applied, "metadata": {**applied_meta, "annotations": kept}}
    text = msgspec.json.encode(_sorted(configuration)).decode() + "\n"
    if len(text) > _MAX_BYTES:
        text = ""
    return {**obj, "metadata": {**meta, "annotations": {**annotations, ANNOTATION: text}}}


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(one) for one in value] if isinstance(value, list) else value
