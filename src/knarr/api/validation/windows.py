"""What is particular to pods for Windows, and which fields they may not have.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import re

from knarr.api import names
from knarr.api.validation.collector import Errors, Object

_SPEC_KIB = 64
_DOMAIN_MAX = 256
_USER_MAX = 104
_has_control = re.compile(r"[\x00-\x1f\x7f]").search
_is_netbios = re.compile(r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}').fullmatch
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_is_dns = re.compile(rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*").fullmatch
_has_bad_char = re.compile(r'["/\\:;|=,+*?<>@\[\]]').search
_is_dots = re.compile("[. ]+").fullmatch

_FOR_LINUX = "windows options cannot be set for a linux pod"
_FOR_WINDOWS = "cannot be set for a windows pod"
_POD_CONTEXT = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
)
_CONTAINER_CONTEXT = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)


def options(errors: Errors, value: Object, path: str) -> None:
    """Check `windowsOptions` of a security context."""
    name = value.get("gmsaCredentialSpecName")
    if name is not None:
        errors.all_invalid(f"{path}.gmsaCredentialSpecName", name, names.dns_subdomain(name))
    spec = value.get("gmsaCredentialSpec")
    if spec == "":
        errors.invalid(f"{path}.gmsaCredentialSpec", spec, "gmsaCredentialSpec cannot be an empty string")
    elif spec is not None and len(spec.encode()) > _SPEC_KIB * 1024:
        errors.invalid(f"{path}.gmsaCredentialSpec", spec, f"gmsaCredentialSpec size must be under {_SPEC_KIB} KiB")
    user = value.get("runAsUserName")
    if user is not None:
        for words in _user_complaints(user):
            errors.invalid(f"{path}.runAsUserName", user, f"runAsUserName{words}")


def _user_complaints(value: str) -> list[str]:
    if not value:
        return [" cannot be an empty string"]
    if _has_control(value):
        return [" cannot contain control characters"]
    if value.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, backslash, user = value.rpartition("\\")
    found = []
    if len(domain) >= _DOMAIN_MAX:
        found.append(f"'s Domain length must be under {_DOMAIN_MAX} characters")
    if backslash and not (_is_netbios(domain) or _is_dns(domain)):
        found.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        found.append("'s User cannot be empty")
    elif len(user) > _USER_MAX:
        found.append(f"'s User length must not be longer than {_USER_MAX} characters")
    if _is_dots(user):
        found.append("'s User cannot contain only periods or spaces")
    if _has_bad_char(user):
        found.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return found


def host_process(errors: Errors, spec: Object, containers: list[tuple[str, Object]], path: str) -> None:
    """Check that either all containers are processes of a Windows host or none is."""
    of_pod = _host_process(spec)
    flags = []
    for here, container in containers:
        own = _host_process(container)
        if of_pod is not None and own is not None and own != of_pod:
            shown = "true" if of_pod else "false"
            words = f"pod hostProcess value must be identical if both are specified, was {shown}"
            errors.invalid(f"{here}.securityContext.windowsOptions.hostProcess", own, words)
        flags.append(bool(of_pod if own is None else own))
    if not any(flags):
        return
    if not all(flags):
        words = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        errors.invalid(path, "", words)
    if not spec.get("hostNetwork"):
        words = "hostNetwork must be true if pod contains any hostProcess containers"
        errors.invalid(f"{path}.hostNetwork", False, words)


def _host_process(obj: Object) -> bool | None:
    value: bool | None = ((obj.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")
    return value


def for_linux(errors: Errors, spec: Object, containers: list[tuple[str, Object]], path: str) -> None:
    """Check that a pod for Linux has no options for Windows."""
    for here, obj in [(path, spec), *containers]:
        if (obj.get("securityContext") or {}).get("windowsOptions") is not None:
            errors.forbidden(f"{here}.securityContext.windowsOptions", _FOR_LINUX)


def for_windows(errors: Errors, spec: Object, containers: list[tuple[str, Object]], path: str) -> None:
    """Check that a pod for Windows has nothing that only Linux has."""
    _absent(errors, spec.get("securityContext") or {}, _POD_CONTEXT, f"{path}.securityContext")
    for field in ("hostUsers", "hostPID", "hostIPC", "shareProcessNamespace"):
        value = spec.get(field)
        if value is not None and (value or field in {"hostUsers", "shareProcessNamespace"}):
            errors.forbidden(f"{path}.{field}", _FOR_WINDOWS)
    for here, container in containers:
        context = container.get("securityContext") or {}
        _absent(errors, context, _CONTAINER_CONTEXT, f"{here}.securityContext")


def _absent(errors: Errors, context: Object, fields: tuple[str, ...], path: str) -> None:
    for field in fields:
        if context.get(field) is not None and context[field] != []:
            errors.forbidden(f"{path}.{field}", _FOR_WINDOWS)
