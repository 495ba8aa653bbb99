"""Security contexts of pods and containers: users, seccomp, AppArmor, sysctls.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

import re
from typing import Any

from knarr.api import names
from knarr.api.validation import paths, windows
from knarr.api.validation.collector import Errors, Object

_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROFILE_MAX_BYTES = 4095
_SYSCTL_MAX = 253
_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_sysctl_match = re.compile(_SYSCTL).fullmatch
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "fs.mqueue.")


def of_pod(errors: Errors, spec: Object, path: str) -> None:
    """Check `securityContext` of a pod spec.

    Args:
        errors: Receives what is wrong.
        spec: The pod spec.
        path: The security context's field.
    """
    context = spec["securityContext"]
    _users(errors, context, path, "fsGroup", "runAsUser", "runAsGroup")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        errors.all_invalid(f"{path}.supplementalGroups[{index}]", group, names.user_id(group))
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        words = "ShareProcessNamespace and HostPID cannot both be enabled"
        errors.invalid(f"{path}.shareProcessNamespace", True, words)
    if context.get("sysctls"):
        _sysctls(errors, spec, context["sysctls"], f"{path}.sysctls")
    _choice(errors, context, path, "fsGroupChangePolicy", ("Always", "OnRootMismatch"))
    _profiles(errors, context, path)
    _choice(errors, context, path, "supplementalGroupsPolicy", ("Merge", "Strict"))
    _choice(errors, context, path, "seLinuxChangePolicy", ("MountOption", "Recursive"))


def of_container(errors: Errors, context: Object, path: str, *, is_host_user: bool) -> None:
    """Check `securityContext` of a container."""
    _users(errors, context, path, "runAsUser", "runAsGroup")
    mount = context.get("procMount")
    if mount is not None:
        errors.one_of(f"{path}.procMount", mount, ("Default", "Unmasked"), required=False)
        if mount == "Unmasked" and is_host_user:
            errors.invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`")
    if context.get("allowPrivilegeEscalation") is False:
        words = "cannot set `allowPrivilegeEscalation` to false and"
        if context.get("privileged"):
            errors.invalid(path, context, f"{words} `privileged` to true")
        if "CAP_SYS_ADMIN" in ((context.get("capabilities") or {}).get("add") or ()):
            errors.invalid(path, context, f"{words} `capabilities.Add` CAP_SYS_ADMIN")
    _profiles(errors, context, path)


def _users(errors: Errors, context: Object, path: str, *fields: str) -> None:
    for field in fields:
        value = context.get(field)
        if value is not None:
            errors.all_invalid(f"{path}.{field}", value, names.user_id(value))


def _choice(errors: Errors, context: Object, path: str, field: str, supported: tuple[str, ...]) -> None:
    if context.get(field) is not None:
        errors.one_of(f"{path}.{field}", context[field], supported, required=False)


def _profiles(errors: Errors, context: Object, path: str) -> None:
    if context.get("seccompProfile") is not None:
        _seccomp(errors, context["seccompProfile"], f"{path}.seccompProfile")
    if context.get("windowsOptions") is not None:
        windows.options(errors, context["windowsOptions"], f"{path}.windowsOptions")
    if context.get("appArmorProfile") is not None:
        _app_armor(errors, context["appArmorProfile"], f"{path}.appArmorProfile")


def _seccomp(errors: Errors, profile: Object, path: str) -> None:
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        errors.required(f"{path}.type", "type is required when seccompProfile is set")
    elif kind not in _PROFILE_TYPES:
        errors.unsupported(f"{path}.type", kind, _PROFILE_TYPES)
    if kind != "Localhost":
        if local is not None:
            words = "can only be set when seccomp type is Localhost"
            errors.invalid(f"{path}.localhostProfile", profile, words)
    elif local is None:
        errors.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")
    else:
        paths.descending(errors, local, f"{path}.localhostProfile")


def _app_armor(errors: Errors, profile: Object, path: str) -> None:
    kind, local, here = profile.get("type") or "", profile.get("localhostProfile"), f"{path}.localhostProfile"
    if not kind:
        errors.required(f"{path}.type", "type is required when appArmorProfile is set")
    elif kind not in _PROFILE_TYPES:
        errors.unsupported(f"{path}.type", kind, _PROFILE_TYPES)
    elif kind != "Localhost":
        if local is not None:
            errors.invalid(here, local, "can only be set when AppArmor type is Localhost")
    elif not local:
        errors.required(here, "must be set when AppArmor type is Localhost")
    else:
        if local.strip() != local:
            errors.invalid(here, local, "must not be padded with whitespace")
        if len(local.encode()) > _PROFILE_MAX_BYTES:
            errors.too_long(here, _PROFILE_MAX_BYTES)


def _sysctls(errors: Errors, spec: Object, values: list[Object], path: str) -> None:
    seen = set()
    for index, sysctl in enumerate(values):
        here, name = f"{path}[{index}].name", sysctl.get("name") or ""
        if not name:
            errors.required(here)
        elif len(name) > _SYSCTL_MAX or not _sysctl_match(name):
            errors.invalid(here, name, f"must have at most {_SYSCTL_MAX} characters and match regex ^{_SYSCTL}$")
        elif name in seen:
            errors.duplicate(here, name)
        seen.add(name)
        dotted = name.replace("/", ".")
        if spec.get("hostNetwork") and dotted.startswith("net."):
            errors.invalid(here, name, "may not be specified when 'hostNetwork' is true")
        elif spec.get("hostIPC") and (dotted == "kernel.sem" or dotted.startswith(_IPC_SYSCTLS)):
            errors.invalid(here, name, "may not be specified when 'hostIPC' is true")


# Profiles in annotations, from before they were fields.

_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_OLD_DEFAULTS = {"seccomp": ("runtime/default", "docker/default"), "apparmor": ("runtime/default",)}


def annotations(errors: Errors, values: dict[str, str], containers: set[str], path: str) -> None:
    """Check profiles that annotations name.

    Args:
        errors: Receives what is wrong.
        values: The annotations.
        containers: The names of the pod's containers.
        path: The annotations' field.
    """
    for key, value in values.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            if value in {*_OLD_DEFAULTS["seccomp"], "unconfined"}:
                continue
            if value.startswith("localhost/"):
                paths.descending(errors, value.removeprefix("localhost/"), f"{path}.{key}")
            else:
                errors.invalid(f"{path}.{key}", value, "must be a valid seccomp profile")
        elif key.startswith(_APP_ARMOR):
            name = key.removeprefix(_APP_ARMOR)
            if name not in containers:
                errors.invalid(f"{path}[{key}]", name, "container not found")
            if value not in {"", "runtime/default", "unconfined"} and not value.startswith("localhost/"):
                errors.invalid(f"{path}[{key}]", value, f'invalid AppArmor profile name: "{value}"')


def is_app_armor(annotation: str) -> bool:
    """Return whether an annotation names an AppArmor profile."""
    return annotation.startswith(_APP_ARMOR)


def agreement(
    errors: Errors, values: dict[str, str], spec: Object, containers: list[tuple[str, Object]], path: str
) -> None:
    """Check that profiles in annotations and in fields are the same, where both are given."""
    of_pod_spec = spec.get("securityContext") or {}
    if _SECCOMP_POD in values:
        _agree(errors, values[_SECCOMP_POD], of_pod_spec.get("seccompProfile"), "seccomp", f"{path}.securityContext")
    for here, container in containers:
        context, name = container.get("securityContext") or {}, container.get("name") or ""
        key = f"{_SECCOMP_CONTAINER}{name}"
        if key in values:
            _agree(errors, values[key], context.get("seccompProfile"), "seccomp", f"{here}.securityContext")
        key = f"{_APP_ARMOR}{name}"
        if key in values and (spec.get("os") or {}).get("name") != "windows":
            profile = context.get("appArmorProfile") or of_pod_spec.get("appArmorProfile")
            _agree(errors, values[key], profile, "apparmor", f"{here}.securityContext")


def _agree(errors: Errors, annotation: str, profile: Any, what: str, path: str) -> None:
    if not profile:
        return
    kind = profile.get("type")
    here = f"{path}.{'seccompProfile' if what == 'seccomp' else 'appArmorProfile'}"
    good = {
        "Unconfined": annotation == "unconfined",
        "RuntimeDefault": annotation in _OLD_DEFAULTS[what],
        "Localhost": annotation.startswith("localhost/"),
    }
    if not good.get(kind, True):
        errors.forbidden(f"{here}.type", f"{what} type in annotation and field must match")
    elif kind == "Localhost" and annotation.removeprefix("localhost/") != profile.get("localhostProfile"):
        errors.forbidden(f"{here}.localhostProfile", f"{what} profile in annotation and field must match")
