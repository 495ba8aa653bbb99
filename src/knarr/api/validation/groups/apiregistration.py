"""APIServices.

Source: k8s.io/kube-aggregator/pkg/apis/apiregistration/validation/validation.go (v1.37).
"""

from collections.abc import Mapping

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.rules import Rules

_GROUP_PRIORITY_MAX = 20_000
_VERSION_PRIORITY_MAX = 1_000


def api_service(errors: Errors, obj: Object) -> None:
    """Check an APIService."""
    spec = obj.get("spec") or {}
    group, version, service = spec.get("group") or "", spec.get("version") or "", spec.get("service")
    name = (obj.get("metadata") or {}).get("name") or ""
    expected = f"{version}.{group}"
    if name and name != expected:
        errors.invalid("metadata.name", name, f'must be `spec.version+"."+spec.group`: "{expected}"')
    if group and names.dns_subdomain(group):
        errors.invalid("spec.group", group, ",".join(names.dns_subdomain(group)))
    if not version:
        errors.required("spec.version")
    elif names.dns_label_1035(version):
        errors.invalid("spec.version", version, ",".join(names.dns_label_1035(version)))
    for field, most in (("groupPriorityMinimum", _GROUP_PRIORITY_MAX), ("versionPriority", _VERSION_PRIORITY_MAX)):
        value = spec.get(field) or 0
        if not 0 < value <= most:
            errors.invalid(f"spec.{field}", value, f"must be positive and less than {most}")
    bundle, insecure = spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if service is None:
        if bundle:
            shown = f"{len(bundle)} bytes"
            errors.invalid("spec.caBundle", shown, "local APIServices may not have a caBundle")
        if insecure:
            errors.invalid(
                "spec.insecureSkipTLSVerify", insecure, "local APIServices may not have insecureSkipTLSVerify"
            )
        return
    for field in ("namespace", "name"):
        if not service.get(field):
            errors.required(f"spec.service.{field}")
    port = service.get("port")
    if port is not None:
        for complaint in names.port_number(port):
            errors.invalid("spec.service.port", port, f"port is not valid: {complaint}")
    if insecure and bundle:
        words = "may not be true if caBundle is present"
        errors.invalid("spec.insecureSkipTLSVerify", insecure, words)


def status(errors: Errors, obj: Object, _old: Object) -> None:
    """Check the conditions of an APIService."""
    for index, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        path = f"status.conditions[{index}].status"
        errors.one_of(path, condition.get("status"), ("True", "False", "Unknown"), required=False)


def _name(value: str, _prefix: bool) -> names.Complaints:
    """Check the name of an APIService: a path segment with a "." in it."""
    found = names.path_segment(value)
    return found if "." in value else (*found, 'name must be `spec.version+"."+spec.group`')


RULES: Mapping[tuple[str, str], Rules] = {
    ("apiregistration.k8s.io", "APIService"): Rules(api_service, status=status, name=_name),
}
