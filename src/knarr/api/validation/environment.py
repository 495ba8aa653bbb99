"""Environment variables of containers, and the references to an object's fields that they share with volumes.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import re
from collections.abc import Mapping, Sequence

from knarr.api import amounts, names
from knarr.api.validation import paths
from knarr.api.validation.collector import Errors, Object

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = ("metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid")
_KNOWN_FIELDS = {*ENV_FIELDS, *VOLUME_FIELDS, "spec.restartPolicy", "spec.schedulerName", "status.phase"}
_RESOURCES = (
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
)
_HUGE_PAGES = ("requests.hugepages-", "limits.hugepages-")
_SUBSCRIPT = re.compile(r"(.+)\['(.*)'\]", re.DOTALL)
_BYTE_DIVISORS = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_FILE_KEY_MAX_BYTES = 128


def variables(errors: Errors, values: Sequence[Object], volumes: Mapping[str, Object], path: str) -> None:
    """Check `env` of a container."""
    for index, variable in enumerate(values):
        name = variable.get("name") or ""
        if name:
            complaints = names.relaxed_env_var_name(name)
            if complaints:
                errors.all_invalid(f"{path}[{index}].name", name, complaints)
        else:
            errors.required(f"{path}[{index}].name")
        if variable.get("valueFrom") is not None:
            _value_from(errors, variable, volumes, f"{path}[{index}].valueFrom")


def _value_from(errors: Errors, variable: Object, volumes: Mapping[str, Object], path: str) -> None:
    source = variable["valueFrom"]
    count = 0
    if source.get("fieldRef") is not None:
        count += 1
        field_reference(errors, source["fieldRef"], ENV_FIELDS, f"{path}.fieldRef")
    if source.get("resourceFieldRef") is not None:
        count += 1
        resource_reference(errors, source["resourceFieldRef"], f"{path}.resourceFieldRef", needs_container=False)
    for kind in ("configMapKeyRef", "secretKeyRef"):
        if source.get(kind) is not None:
            count += 1
            _key_reference(errors, source[kind], f"{path}.{kind}")
    if source.get("fileKeyRef") is not None:
        count += 1
        _file_key_reference(errors, source["fileKeyRef"], volumes, f"{path}.fileKeyRef")
    if not count:
        words = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        errors.invalid(path, "", words)
    elif variable.get("value"):
        errors.invalid(path, "", "may not be specified when `value` is not empty")
    elif count > 1:
        errors.invalid(path, "", "may not have more than one field specified at a time")


def _key_reference(errors: Errors, reference: Object, path: str) -> None:
    name, key = reference.get("name") or "", reference.get("key") or ""
    errors.all_invalid(f"{path}.name", name, names.dns_subdomain(name))
    if key:
        errors.all_invalid(f"{path}.key", key, names.config_map_key(key))
    else:
        errors.required(f"{path}.key")


def _file_key_reference(errors: Errors, reference: Object, volumes: Mapping[str, Object], path: str) -> None:
    key, volume, file = (reference.get(name) or "" for name in ("key", "volumeName", "path"))
    if not key:
        errors.required(f"{path}.key")
    else:
        errors.all_invalid(f"{path}.key", key, names.relaxed_env_var_name(key))
        if len(key.encode()) > _FILE_KEY_MAX_BYTES:
            errors.too_long(f"{path}.key", _FILE_KEY_MAX_BYTES)
    if not volume:
        errors.required(f"{path}.volumeName")
    elif volume not in volumes:
        errors.not_found(f"{path}.volumeName", volume)
    elif volumes[volume].get("emptyDir") is None:
        errors.invalid(f"{path}.volumeName", volume, "referenced volume must be of type emptyDir")
    if not file:
        errors.required(f"{path}.path")
    else:
        paths.local(errors, file, f"{path}.path")


def sources(errors: Errors, values: Sequence[Object], path: str) -> None:
    """Check `envFrom` of a container."""
    for index, source in enumerate(values):
        here = f"{path}[{index}]"
        prefix = source.get("prefix") or ""
        if prefix:
            errors.all_invalid(f"{here}.prefix", prefix, names.relaxed_env_var_name(prefix))
        count = 0
        for kind in ("configMapRef", "secretRef"):
            if source.get(kind) is None:
                continue
            count += 1
            name = source[kind].get("name") or ""
            if name:
                errors.all_invalid(f"{here}.{kind}.name", name, names.name_is_subdomain(name, True))
            else:
                errors.required(f"{here}.{kind}.name")
        if not count:
            errors.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`")
        elif count > 1:
            errors.invalid(path, "", "may not have more than one field specified at a time")


def field_reference(errors: Errors, reference: Object, supported: tuple[str, ...], path: str) -> None:
    """Check a reference to a field of the pod."""
    version, field = reference.get("apiVersion") or "", reference.get("fieldPath") or ""
    if not version:
        errors.required(f"{path}.apiVersion")
        return
    if not field:
        errors.required(f"{path}.fieldPath")
        return
    match = _SUBSCRIPT.fullmatch(field)
    base = match[1] if match else field
    if version != "v1":
        words = f"error converting fieldPath: unsupported pod version: {version}"
        errors.invalid(f"{path}.fieldPath", field, words)
    elif base not in _KNOWN_FIELDS:
        errors.invalid(f"{path}.fieldPath", field, f"error converting fieldPath: field label not supported: {field}")
    elif match:
        if base not in {"metadata.annotations", "metadata.labels"}:
            errors.invalid(path, base, "does not support subscript")
            return
        key = match[2].lower() if base == "metadata.annotations" else match[2]
        errors.all_invalid(path, key, names.qualified_name(key))
    elif base not in supported:
        errors.unsupported(f"{path}.fieldPath", base, supported)


def resource_reference(errors: Errors, reference: Object, path: str, *, needs_container: bool) -> None:
    """Check a reference to a container's requests or limits."""
    name = reference.get("resource") or ""
    if needs_container and not reference.get("containerName"):
        errors.required(f"{path}.containerName")
    elif not name:
        errors.required(f"{path}.resource")
    elif name not in _RESOURCES and not name.startswith(_HUGE_PAGES):
        errors.unsupported(f"{path}.resource", name, _RESOURCES)
    divisor = reference.get("divisor")
    if divisor is None or amounts.nanos(divisor) == 0:
        return
    listed, what = _divisors(name)
    if listed and str(divisor) not in listed:
        shown = " and ".join(listed) if what == "cpu" else ", ".join(listed)
        errors.invalid(f"{path}.divisor", name, f"only divisor's values {shown} are supported with the {what} resource")


def _divisors(resource: str) -> tuple[tuple[str, ...], str]:
    kind = resource.partition(".")[2]
    if kind == "cpu":
        return ("1m", "1"), "cpu"
    if kind.startswith("hugepages-"):
        return _BYTE_DIVISORS, "hugepages"
    words = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}
    return (_BYTE_DIVISORS, words[kind]) if kind in words else ((), "")
