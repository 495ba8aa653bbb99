"""CustomResourceDefinitions; what their schemas may say is in `crdschema.py`.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable
from knarr.api.validation.groups import crdschema
from knarr.api.validation.rules import Rules

_SCOPES = ("Cluster", "Namespaced")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MIXED = "may have mixed case, but should otherwise match: "
_SELECTABLE_MAX = 8


def create(errors: Errors, obj: Object) -> None:
    """Check a new CustomResourceDefinition."""
    spec = obj.get("spec") or {}
    _name(errors, obj, spec)
    _spec(errors, spec)


def _name(errors: Errors, obj: Object, spec: Object) -> None:
    name = (obj.get("metadata") or {}).get("name") or ""
    if name != f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}":
        errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _spec(errors: Errors, spec: Object) -> None:
    group, path = spec.get("group") or "", "spec.group"
    if not group:
        errors.required(path)
    elif names.dns_subdomain(group):
        errors.invalid(path, group, ",".join(names.dns_subdomain(group)))
    elif "." not in group:
        errors.invalid(path, group, "should be a domain with at least one dot")
    errors.one_of("spec.scope", spec.get("scope"), _SCOPES)
    versions: list[Object] = spec.get("versions") or []
    _versions(errors, versions, preserves=bool(spec.get("preserveUnknownFields")))
    if spec.get("preserveUnknownFields"):
        words = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        errors.invalid("spec.preserveUnknownFields", True, words)
    _names(errors, spec.get("names") or {}, "spec.names")
    if not (spec.get("names") or {}).get("plural"):
        errors.required("spec.names.plural")
    if not (spec.get("names") or {}).get("singular"):
        errors.required("spec.names.singular")
    for field in ("kind", "listKind"):
        if not (spec.get("names") or {}).get(field):
            errors.required(f"spec.names.{field}")
    _conversion(errors, spec.get("conversion") or {}, "spec.conversion")


def _versions(errors: Errors, versions: list[Object], *, preserves: bool) -> None:
    listed = [version.get("name") or "" for version in versions]
    if len(set(listed)) < len(listed):
        errors.invalid("spec.versions", versions, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        errors.invalid("spec.versions", versions, "must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        if names.dns_label_1035(name):
            errors.invalid(f"{path}.name", name, ",".join(names.dns_label_1035(name)))
        warning = version.get("deprecationWarning")
        if warning is not None:
            _warning(errors, version, warning, f"{path}.deprecationWarning")
        schema = (version.get("schema") or {}).get("openAPIV3Schema")
        if schema is None:
            if not preserves:
                errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            crdschema.check(errors, schema, f"{path}.schema.openAPIV3Schema")
        _subresources(errors, version.get("subresources") or {}, f"{path}.subresources")
        for position, column in enumerate(version.get("additionalPrinterColumns") or ()):
            _column(errors, column, f"{path}.additionalPrinterColumns[{position}]")
        _selectable(errors, version.get("selectableFields") or [], f"{path}.selectableFields")


def _warning(errors: Errors, version: Object, warning: str, path: str) -> None:
    if not version.get("deprecated"):
        errors.invalid(path, warning, "can only be set for deprecated versions")
    if not warning:
        errors.invalid(path, warning, "must not be empty")
    if len(warning.encode()) > 256:
        errors.too_long(path, 256)
    for index, char in enumerate(warning):
        if not char.isprintable():
            words = "must only contain printable UTF-8 characters; non-printable character found at index"
            errors.invalid(path, warning, f"{words} {index}")
            break


def _subresources(errors: Errors, given: Object, path: str) -> None:
    scale = given.get("scale")
    if scale is None:
        return
    for field, prefix in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        value = scale.get(field) or ""
        if not value:
            errors.required(f"{path}.scale.{field}")
        elif not value.startswith(f"{prefix}."):
            errors.invalid(f"{path}.scale.{field}", value, f"should be a json path under {prefix}")
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        words = "should be a json path under either .spec or .status"
        errors.invalid(f"{path}.scale.labelSelectorPath", selector, words)


def _column(errors: Errors, column: Object, path: str) -> None:
    kind, form, where = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    if not column.get("name"):
        errors.required(f"{path}.name")
    if kind not in _COLUMN_TYPES:
        if kind:
            errors.invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
        else:
            errors.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    if form and form not in _COLUMN_FORMATS:
        errors.invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not where:
        errors.required(f"{path}.jsonPath")
    elif not where.startswith((".", "{")):
        words = "is an invalid json path: must be a simple json path starting with ."
        errors.invalid(f"{path}.jsonPath", where, words)


def _selectable(errors: Errors, fields: list[Object], path: str) -> None:
    if len(fields) > _SELECTABLE_MAX:
        errors.too_many(path, len(fields), _SELECTABLE_MAX)
    seen = set()
    for index, field in enumerate(fields):
        here, where = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not where:
            errors.required(here)
        elif not where.startswith(".") or where.startswith(".metadata"):
            errors.invalid(here, where, "is an invalid path: must not point to fields in metadata")
        elif where in seen:
            errors.duplicate(here, where)
        seen.add(where)


def _names(errors: Errors, given: Object, path: str) -> None:
    for field in ("plural", "singular"):
        value = given.get(field) or ""
        if value and names.dns_label_1035(value):
            errors.invalid(f"{path}.{field}", value, ",".join(names.dns_label_1035(value)))
    for field in ("kind", "listKind"):
        value = given.get(field) or ""
        if value and names.dns_label_1035(value.lower()):
            listed = ",".join(names.dns_label_1035(value.lower()))
            errors.invalid(f"{path}.{field}", value, f"{_MIXED}{listed}")
    for field in ("shortNames", "categories"):
        for index, value in enumerate(given.get(field) or ()):
            if names.dns_label_1035(value):
                errors.invalid(f"{path}.{field}[{index}]", value, ",".join(names.dns_label_1035(value)))
    kind = given.get("kind")
    if kind and kind == given.get("listKind"):
        errors.invalid(f"{path}.listKind", kind, "kind and listKind may not be the same")


def _conversion(errors: Errors, conversion: Object, path: str) -> None:
    strategy, webhook = conversion.get("strategy") or "None", conversion.get("webhook")
    errors.one_of(f"{path}.strategy", strategy, ("None", "Webhook"))
    if strategy == "Webhook":
        client = (webhook or {}).get("clientConfig")
        if client is None:
            errors.required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
        elif (client.get("url") is None) == (client.get("service") is None):
            errors.required(f"{path}.webhookClientConfig", "exactly one of url or service is required")
        versions = (webhook or {}).get("conversionReviewVersions") or []
        if not versions:
            errors.required(f"{path}.conversionReviewVersions")
        elif not set(versions) & {"v1", "v1beta1"}:
            words = "must include at least one of v1, v1beta1"
            errors.invalid(f"{path}.conversionReviewVersions", versions, words)
    elif webhook is not None:
        errors.forbidden(f"{path}.webhookClientConfig", "should not be set when strategy is not set to Webhook")


def _status(errors: Errors, obj: Object, old: Object) -> None:
    status = obj.get("status") or {}
    stored: Any = status.get("storedVersions") or []
    if not stored and (old.get("status") or {}).get("storedVersions"):
        errors.invalid("status.storedVersions", stored, "must have at least one stored version")
    known = {version.get("name"): version for version in (obj.get("spec") or {}).get("versions") or ()}
    for index, name in enumerate(stored):
        if name not in known:
            words = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                "until a storage migration ensures no data remains persisted in this version and removes it from "
                "status.storedVersions"
            )
            errors.invalid(f"status.storedVersions[{index}]", name, words)
    _names(errors, status.get("acceptedNames") or {}, "status.acceptedNames")


def _update(errors: Errors, obj: Object, old: Object) -> None:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    create(errors, obj)
    _status(errors, obj, old)
    conditions = (old.get("status") or {}).get("conditions") or ()
    established = any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions)
    for field in ("group", "scope") if established else ("group",):
        immutable(errors, f"spec.{field}", spec.get(field), before.get(field))
    for field in ("plural", "kind") if established else ("plural",):
        now, was = ((one.get("names") or {}).get(field) for one in (spec, before))
        immutable(errors, f"spec.names.{field}", now, was)


def status(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of the status alone."""
    _status(errors, obj, old)


RULES: Mapping[tuple[str, str], Rules] = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Rules(create, _update, status),
}
