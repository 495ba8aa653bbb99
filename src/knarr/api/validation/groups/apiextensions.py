"""CustomResourceDefinitions.

What is known to be good costs nothing: a schema that has not changed is not looked at again on update, as upstream ratchets.

Source: k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import apiapproval, names
from knarr.api.structural import celrules
from knarr.api.structural import rules as schema_rules
from knarr.api.structural import schema as schemas
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable, is_equal
from knarr.api.validation.groups import webhooks
from knarr.api.validation.rules import Rules
from knarr.lang import jsonpath

GROUP = "apiextensions.k8s.io"
MAX_SELECTABLE_FIELDS = 8
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_REVIEWS = ("v1", "v1beta1")


def create(errors: Errors, crd: Object) -> None:
    """Check a new definition."""
    _name(errors, crd)
    _spec(errors, crd.get("spec") or {}, {})
    _status(errors, crd)
    _approval(errors, crd)


def update(errors: Errors, crd: Object, old: Object) -> None:
    """Check the change of a definition."""
    _name(errors, crd)
    spec, before = crd.get("spec") or {}, old.get("spec") or {}
    _spec(errors, spec, before)
    conditions = (old.get("status") or {}).get("conditions") or ()
    if any(one.get("type") == "Established" and one.get("status") == "True" for one in conditions):
        immutable(errors, "spec.scope", spec.get("scope"), before.get("scope"))
        immutable(errors, "spec.names.kind", _names(spec).get("kind"), _names(before).get("kind"))
    immutable(errors, "spec.group", spec.get("group"), before.get("group"))
    immutable(errors, "spec.names.plural", _names(spec).get("plural"), _names(before).get("plural"))
    _status(errors, crd)
    _stored_versions(errors, crd)
    if apiapproval.state(crd)[0] != apiapproval.state(old)[0]:
        _approval(errors, crd)


def status(errors: Errors, crd: Object, old: Object) -> None:
    """Check the change of a definition's status."""
    _status(errors, crd)
    _stored_versions(errors, crd)


def _names(spec: Object) -> Object:
    found: Object = spec.get("names") or {}
    return found


def _approval(errors: Errors, crd: Object) -> None:
    if not apiapproval.is_protected((crd.get("spec") or {}).get("group") or ""):
        return
    path = f"metadata.annotations[{apiapproval.ANNOTATION}]"
    state, words = apiapproval.state(crd)
    if state == apiapproval.MISSING:
        errors.required(path, words)
    elif state == apiapproval.INVALID:
        errors.invalid(path, crd["metadata"]["annotations"][apiapproval.ANNOTATION], words)


def _name(errors: Errors, crd: Object) -> None:
    spec = crd.get("spec") or {}
    name = (crd.get("metadata") or {}).get("name")
    if name and name != f"{_names(spec).get('plural') or ''}.{spec.get('group') or ''}":
        errors.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')


def _spec(errors: Errors, spec: Object, before: Object) -> None:
    group = spec.get("group") or ""
    if not group:
        errors.required("spec.group")
    elif names.dns_subdomain(group):
        errors.invalid("spec.group", group, ",".join(names.dns_subdomain(group)))
    elif "." not in group:
        errors.invalid("spec.group", group, "should be a domain with at least one dot")
    errors.one_of("spec.scope", spec.get("scope"), ("Cluster", "Namespaced"))
    if spec.get("preserveUnknownFields") and not before.get("preserveUnknownFields"):
        words = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        errors.invalid("spec.preserveUnknownFields", True, words)
    _versions(errors, spec, before)
    listed = _names(spec)
    for name in ("plural", "singular", "kind", "listKind"):
        if not listed.get(name):
            errors.required(f"spec.names.{name}")
    _check_names(errors, listed, "spec.names")
    _conversion(errors, spec.get("conversion") or {})


def _versions(errors: Errors, spec: Object, before: Object) -> None:
    versions = spec.get("versions") or []
    known = {one.get("name"): one for one in before.get("versions") or ()}
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", version.get("name") or ""
        errors.all_invalid(f"{path}.name", name, [",".join(found)] if (found := names.dns_label_1035(name)) else [])
        _version(errors, version, known.get(name), path)
        seen.add(name)
    if len(seen) != len(versions):
        errors.invalid("spec.versions", versions, "must contain unique version names")
    if sum(bool(one.get("storage")) for one in versions) != 1:
        errors.invalid("spec.versions", versions, "must have exactly one version marked as storage version")


def _version(errors: Errors, version: Object, before: Object | None, path: str) -> None:
    warning = version.get("deprecationWarning")
    if warning is not None:
        _warning(errors, version, warning, f"{path}.deprecationWarning")
    raw = (version.get("schema") or {}).get("openAPIV3Schema")
    subresources = version.get("subresources") or {}
    if raw is None:
        errors.required(f"{path}.schema.openAPIV3Schema", "schemas are required")
    elif before is None or not is_equal(version, before):
        where = f"{path}.schema.openAPIV3Schema"
        if schema_rules.check_schema(errors, raw, where, has_status=subresources.get("status") is not None):
            root = schemas.compile_schema(raw)
            schema_rules.check_defaults(errors, root, where)
            celrules.check_rules(errors, root, where)
    _subresources(errors, subresources, f"{path}.subresources")
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        _column(errors, column, f"{path}.additionalPrinterColumns[{index}]")
    _selectable_fields(errors, version.get("selectableFields") or [], raw, path)


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


def _subresources(errors: Errors, subresources: Object, path: str) -> None:
    scale = subresources.get("scale")
    if scale is None:
        return
    for name, roots, words in (
        ("specReplicasPath", (".spec.",), "should be a json path under .spec"),
        ("statusReplicasPath", (".status.",), "should be a json path under .status"),
    ):
        value = scale.get(name) or ""
        if not value:
            errors.required(f"{path}.scale.{name}")
        else:
            _simple_path(errors, value, roots, words, f"{path}.scale.{name}")
    selector = scale.get("labelSelectorPath")
    if selector:
        words = "should be a json path under either .spec or .status"
        _simple_path(errors, selector, (".spec.", ".status."), words, f"{path}.scale.labelSelectorPath")


def _simple_path(errors: Errors, value: str, roots: tuple[str, ...], words: str, path: str) -> None:
    if "[" in value or not value.startswith("."):
        errors.invalid(path, value, "should be a simple json path starting with . and without array notation")
    elif not value.startswith(roots):
        errors.invalid(path, value, words)


def _column(errors: Errors, column: Object, path: str) -> None:
    if not column.get("name"):
        errors.required(f"{path}.name")
    kind, form, text = column.get("type") or "", column.get("format") or "", column.get("jsonPath") or ""
    if not kind:
        errors.required(f"{path}.type", f"must be one of {','.join(_COLUMN_TYPES)}")
    elif kind not in _COLUMN_TYPES:
        errors.invalid(f"{path}.type", kind, f"must be one of {','.join(_COLUMN_TYPES)}")
    if form and form not in _COLUMN_FORMATS:
        errors.invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}")
    if not text:
        errors.required(f"{path}.jsonPath")
        return
    if not text.startswith("."):
        errors.invalid(f"{path}.jsonPath", text, "must be a simple json path starting with .")
        return
    try:
        jsonpath.parse(text)
    except jsonpath.JsonPathError as err:
        errors.invalid(f"{path}.jsonPath", text, f"illegal JSONPath: {err}")


def _selectable_fields(errors: Errors, listed: list[Object], raw: Object | None, path: str) -> None:
    if len(listed) > MAX_SELECTABLE_FIELDS:
        errors.too_many(f"{path}.selectableFields", len(listed), MAX_SELECTABLE_FIELDS)
        return
    seen: set[str] = set()
    for index, one in enumerate(listed):
        where, text = f"{path}.selectableFields[{index}].jsonPath", one.get("jsonPath") or ""
        if not text:
            errors.required(where)
            continue
        if not text.startswith(".") or "[" in text or ".." in text:
            errors.invalid(where, text, "must be a simple json path that can be evaluated with . only")
            continue
        if text.split(".")[1] == "metadata":
            errors.invalid(where, text, "must not point to fields in metadata")
        elif not _is_selectable(raw or {}, text):
            words = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
            errors.invalid(where, text, words)
        if text in seen:
            errors.duplicate(where, text)
        seen.add(text)


def _is_selectable(raw: Object, path: str) -> bool:
    for name in path.split(".")[1:]:
        raw = (raw.get("properties") or {}).get(name) or {}
    return raw.get("type") in ("string", "boolean", "integer")


def _check_names(errors: Errors, listed: Object, path: str) -> None:
    for name in ("plural", "singular"):
        value = listed.get(name)
        if value and (found := names.dns_label_1035(value)):
            errors.invalid(f"{path}.{name}", value, ",".join(found))
    for name in ("kind", "listKind"):
        value = listed.get(name)
        if value and (found := names.dns_label_1035(value.lower())):
            words = f"may have mixed case, but should otherwise match: {','.join(found)}"
            errors.invalid(f"{path}.{name}", value, words)
    for name in ("shortNames", "categories"):
        for index, value in enumerate(listed.get(name) or ()):
            if found := names.dns_label_1035(value):
                errors.invalid(f"{path}.{name}[{index}]", value, ",".join(found))
    if listed.get("kind") and listed.get("kind") == listed.get("listKind"):
        errors.invalid(f"{path}.listKind", listed["listKind"], "kind and listKind may not be the same")


def _conversion(errors: Errors, conversion: Object) -> None:
    path, strategy = "spec.conversion", conversion.get("strategy")
    webhook = conversion.get("webhook")
    if not strategy:
        errors.required(f"{path}.strategy")
    elif strategy == "None":
        if webhook is not None:
            errors.forbidden(f"{path}.webhookClientConfig", "should not be set when strategy is not set to Webhook")
    elif strategy == "Webhook":
        client = (webhook or {}).get("clientConfig")
        if client is None:
            errors.required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")
        else:
            webhooks.client(errors, client, f"{path}.webhookClientConfig")
        versions = (webhook or {}).get("conversionReviewVersions") or []
        if not versions:
            errors.required(f"{path}.conversionReviewVersions")
        elif not any(one in _REVIEWS for one in versions):
            words = f"must include at least one of {', '.join(_REVIEWS)}"
            errors.invalid(f"{path}.conversionReviewVersions", versions, words)
    else:
        errors.unsupported(f"{path}.strategy", strategy, ("None", "Webhook"))


def _status(errors: Errors, crd: Object) -> None:
    _check_names(errors, (crd.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _stored_versions(errors: Errors, crd: Object) -> None:
    stored = (crd.get("status") or {}).get("storedVersions") or []
    if not stored:
        errors.invalid("status.storedVersions", stored, "must have at least one stored version")
    versions = (crd.get("spec") or {}).get("versions") or ()
    known = {one.get("name") for one in versions}
    for index, name in enumerate(stored):
        if name not in known:
            words = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a "
                f"storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            )
            errors.invalid(f"status.storedVersions[{index}]", name, words)
    storage = next((one.get("name") for one in versions if one.get("storage")), None)
    if stored and storage is not None and storage not in stored:
        errors.invalid("status.storedVersions", stored, f"must have the storage version {storage}")


RULES: Mapping[tuple[str, str], Rules] = {(GROUP, "CustomResourceDefinition"): Rules(create, update, status)}
