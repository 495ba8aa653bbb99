"""The Pod Security Standards: what a pod must not do to be baseline, and what it must do to be restricted.

Each check takes a pod's spec and annotations and returns why it fails, or nothing.

Source: k8s.io/pod-security-admission/policy (v1.37), https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import Any

Object = dict[str, Any]
Check = Callable[[Object, Mapping[str, str]], str]
"""Returns "reason (details)", or "" if the pod passes."""

APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
DEFAULT_CAPABILITIES = frozenset(
    {
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    }
)  # fmt: skip
SELINUX_TYPES: Mapping[int, frozenset[str]] = {
    0: frozenset({"", "container_t", "container_init_t", "container_kvm_t"}),
    31: frozenset({"container_engine_t"}),
}
"""Allowed types of SELinux, by the minor version of the standards that added them."""
SYSCTLS: Mapping[int, frozenset[str]] = {
    0: frozenset({
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
        "net.ipv4.ip_unprivileged_port_start",
    }),
    27: frozenset({"net.ipv4.ip_local_reserved_ports"}),
    29: frozenset({
        "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
    }),
    32: frozenset({"net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}),
    37: frozenset({"net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat"}),
}  # fmt: skip
"""Allowed sysctls, likewise."""
RELAXED_SINCE = 35
"""Since when pods with users of their own may be root in there, and see all of /proc."""
VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)


def containers(spec: Object) -> Iterator[Object]:
    """Return every container of a pod: init, ordinary, ephemeral."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(kind) or ()


def security(holder: Object) -> Object:
    """Return the security context of a pod's spec or of a container."""
    return holder.get("securityContext") or {}


def quoted(names: Iterable[str]) -> str:
    """Return names in quotes, separated by commas."""
    return ", ".join(f'"{name}"' for name in names)


def _listed(noun: str, names: list[str]) -> str:
    return f"{noun if len(names) == 1 else noun + 's'} {quoted(names)}"


def _failing(spec: Object, is_bad: Callable[[Object], Any]) -> list[str]:
    return [container["name"] for container in containers(spec) if is_bad(container)]


def _is_windows(spec: Object) -> bool:
    return (spec.get("os") or {}).get("name") == "windows"


def privileged(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must not be privileged."""
    bad = _failing(spec, lambda one: security(one).get("privileged"))
    return f"privileged ({_listed('container', bad)} must not set securityContext.privileged=true)" if bad else ""


def host_namespaces(spec: Object, _: Mapping[str, str]) -> str:
    """Pods must not share the host's namespaces."""
    bad = [f"{field}=true" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    return f"host namespaces ({', '.join(bad)})" if bad else ""


def host_path_volumes(spec: Object, _: Mapping[str, str]) -> str:
    """Pods must not mount the host's files."""
    bad = [volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath") is not None]
    return f"hostPath volumes ({_listed('volume', bad)})" if bad else ""


def host_ports(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must not take ports of the host."""

    def ports(container: Object) -> list[int]:
        return [port["hostPort"] for port in container.get("ports") or () if port.get("hostPort")]

    bad = _failing(spec, ports)
    if not bad:
        return ""
    used = list(dict.fromkeys(str(port) for container in containers(spec) for port in ports(container)))
    verb = "uses" if len(bad) == 1 else "use"
    noun = "hostPort" if len(used) == 1 else "hostPorts"
    return f"hostPort ({_listed('container', bad)} {verb} {noun} {', '.join(used)})"


def capabilities_baseline(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must not add capabilities beyond the usual ones."""

    def added(container: Object) -> list[str]:
        listed = (security(container).get("capabilities") or {}).get("add") or ()
        return [name for name in listed if name not in DEFAULT_CAPABILITIES]

    bad = _failing(spec, added)
    if not bad:
        return ""
    names = sorted({name for container in containers(spec) for name in added(container)})
    where = "in securityContext.capabilities.add"
    return f"non-default capabilities ({_listed('container', bad)} must not include {quoted(names)} {where})"


def proc_mount(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must not see all of /proc."""

    def unusual(container: Object) -> str:
        kind = security(container).get("procMount") or "Default"
        return kind if kind != "Default" else ""

    bad = _failing(spec, unusual)
    if not bad:
        return ""
    kinds = sorted({unusual(one) for one in containers(spec)} - {""})
    return f"procMount ({_listed('container', bad)} must not set securityContext.procMount to {quoted(kinds)})"


def app_armor(spec: Object, annotations: Mapping[str, str]) -> str:
    """AppArmor must not be switched off."""

    def unconfined(holder: Object) -> str:
        kind: str = (security(holder).get("appArmorProfile") or {}).get("type") or "RuntimeDefault"
        return kind if kind not in ("RuntimeDefault", "Localhost") else ""

    setters = ["pod"] if unconfined(spec) else []
    bad = _failing(spec, unconfined)
    if bad:
        setters.append(_listed("container", bad))
    values = sorted({unconfined(holder) for holder in (spec, *containers(spec))} - {""})
    wrong = sorted(
        f'{key}="{value}"'
        for key, value in annotations.items()
        if key.startswith(APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if wrong:
        setters.append("annotation" if len(wrong) == 1 else "annotations")
    if not setters:
        return ""
    values += wrong
    noun = "profile" if len(values) == 1 else "profiles"
    return f"forbidden AppArmor {noun} ({' and '.join(setters)} must not set AppArmor profile type to {quoted(values)})"


def selinux(spec: Object, _: Mapping[str, str], allowed: frozenset[str] = frozenset()) -> str:
    """Only container types of SELinux may be set."""

    def problems(holder: Object) -> list[str]:
        options = security(holder).get("seLinuxOptions") or {}
        found = []
        if (options.get("type") or "") not in allowed:
            found.append(f'type "{options["type"]}"')
        found += [f"{field} may not be set" for field in ("user", "role") if options.get(field)]
        return found

    setters = ["pod"] if problems(spec) else []
    bad = _failing(spec, problems)
    if bad:
        setters.append(_listed("container", bad))
    if not setters:
        return ""
    details = list(dict.fromkeys(one for holder in (spec, *containers(spec)) for one in problems(holder)))
    return (
        f"seLinuxOptions ({' and '.join(setters)} set forbidden securityContext.seLinuxOptions: {'; '.join(details)})"
    )


def _seccomp(holder: Object) -> str | None:
    profile = security(holder).get("seccompProfile")
    return None if profile is None else profile.get("type") or ""


def _is_bad_seccomp(kind: str | None) -> bool:
    return kind is not None and kind not in ("RuntimeDefault", "Localhost")


def _seccomp_forbidden(spec: Object) -> list[str]:
    setters = ["pod"] if _is_bad_seccomp(_seccomp(spec)) else []
    bad = _failing(spec, lambda one: _is_bad_seccomp(_seccomp(one)))
    if bad:
        setters.append(_listed("container", bad))
    if not setters:
        return []
    kinds = sorted({_seccomp(one) or "" for one in (spec, *containers(spec)) if _is_bad_seccomp(_seccomp(one))})
    return [f"{' and '.join(setters)} must not set securityContext.seccompProfile.type to {quoted(kinds)}"]


def seccomp_baseline(spec: Object, _: Mapping[str, str]) -> str:
    """Seccomp must not be switched off."""
    details = _seccomp_forbidden(spec)
    return f"seccompProfile ({'; '.join(details)})" if details else ""


def seccomp_restricted(spec: Object, _: Mapping[str, str]) -> str:
    """Seccomp must be on."""
    if _is_windows(spec):
        return ""
    details = _seccomp_forbidden(spec)
    if _seccomp(spec) is None:
        unset = _failing(spec, lambda one: _seccomp(one) is None)
        if unset:
            where = f"pod or {_listed('container', unset)}"
            details.append(f'{where} must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"')
    return f"seccompProfile ({'; '.join(details)})" if details else ""


def sysctls(spec: Object, _: Mapping[str, str], allowed: frozenset[str] = frozenset()) -> str:
    """Only sysctls of the pod alone may be set."""
    bad = [one["name"] for one in security(spec).get("sysctls") or () if one["name"] not in allowed]
    return f"forbidden sysctls ({', '.join(bad)})" if bad else ""


def windows_host_process(spec: Object, _: Mapping[str, str]) -> str:
    """Windows containers must not be processes of the host."""

    def is_host_process(holder: Object) -> bool:
        return bool((security(holder).get("windowsOptions") or {}).get("hostProcess"))

    setters = ["pod"] if is_host_process(spec) else []
    bad = _failing(spec, is_host_process)
    if bad:
        setters.append(_listed("container", bad))
    words = "must not set securityContext.windowsOptions.hostProcess=true"
    return f"hostProcess ({' and '.join(setters)} {words})" if setters else ""


def host_probes(spec: Object, _: Mapping[str, str]) -> str:
    """Probes and hooks must not be sent to other hosts."""

    def hosts(container: Object) -> list[str]:
        handlers = [container.get(field) or {} for field in ("livenessProbe", "readinessProbe", "startupProbe")]
        lifecycle = container.get("lifecycle") or {}
        handlers += [lifecycle.get(field) or {} for field in ("postStart", "preStop")]
        found = [(one.get(kind) or {}).get("host") or "" for one in handlers for kind in ("httpGet", "tcpSocket")]
        return [host for host in found if host]

    bad = sorted(_failing(spec, hosts))
    if not bad:
        return ""
    names = sorted({host for container in containers(spec) for host in hosts(container)})
    verb, noun = ("uses" if len(bad) == 1 else "use"), ("host" if len(names) == 1 else "hosts")
    return f"probe or lifecycle host ({_listed('container', bad)} {verb} probe or lifecycle {noun} {quoted(names)})"


def privilege_escalation(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must rule out privilege escalation."""
    if _is_windows(spec):
        return ""
    bad = _failing(spec, lambda one: security(one).get("allowPrivilegeEscalation") is not False)
    words = "must set securityContext.allowPrivilegeEscalation=false"
    return f"allowPrivilegeEscalation != false ({_listed('container', bad)} {words})" if bad else ""


def capabilities_restricted(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must drop all capabilities and may add one back."""
    if _is_windows(spec):
        return ""

    def capabilities(container: Object) -> Object:
        return security(container).get("capabilities") or {}

    def added(container: Object) -> list[str]:
        return [name for name in capabilities(container).get("add") or () if name != "NET_BIND_SERVICE"]

    details = []
    keeping = _failing(spec, lambda one: "ALL" not in (capabilities(one).get("drop") or ()))
    if keeping:
        details.append(f'{_listed("container", keeping)} must set securityContext.capabilities.drop=["ALL"]')
    adding = _failing(spec, added)
    if adding:
        names = sorted({name for container in containers(spec) for name in added(container)})
        where = "in securityContext.capabilities.add"
        details.append(f"{_listed('container', adding)} must not include {quoted(names)} {where}")
    return f"unrestricted capabilities ({'; '.join(details)})" if details else ""


def restricted_volumes(spec: Object, _: Mapping[str, str]) -> str:
    """Only volumes that give access to nothing else may be mounted."""
    bad: dict[str, str] = {}
    for volume in spec.get("volumes") or ():
        kinds = [kind for kind, source in volume.items() if kind != "name" and source is not None]
        if kinds and kinds[0] not in VOLUME_TYPES:
            bad[volume["name"]] = kinds[0]
    if not bad:
        return ""
    kinds = sorted(set(bad.values()))
    verb, noun = ("uses" if len(bad) == 1 else "use"), ("type" if len(kinds) == 1 else "types")
    return f"restricted volume types ({_listed('volume', list(bad))} {verb} restricted volume {noun} {quoted(kinds)})"


def run_as_non_root(spec: Object, _: Mapping[str, str]) -> str:
    """Containers must run as somebody else than root."""
    at_pod = security(spec).get("runAsNonRoot")
    explicit = _failing(spec, lambda one: security(one).get("runAsNonRoot") is False)
    implicit = _failing(spec, lambda one: security(one).get("runAsNonRoot") is None)
    setters = []
    if at_pod is False:
        setters.append("pod")
    if explicit:
        setters.append(_listed("container", explicit))
    if setters:
        return f"runAsNonRoot != true ({' and '.join(setters)} must not set securityContext.runAsNonRoot=false)"
    if at_pod is None and implicit:
        where = f"pod or {_listed('container', implicit)}"
        return f"runAsNonRoot != true ({where} must set securityContext.runAsNonRoot=true)"
    return ""


def run_as_user(spec: Object, _: Mapping[str, str]) -> str:
    """Nothing may be told to run as root."""

    def is_root(holder: Object) -> bool:
        return security(holder).get("runAsUser") == 0

    setters = ["pod"] if is_root(spec) else []
    bad = _failing(spec, is_root)
    if bad:
        setters.append(_listed("container", bad))
    return f"runAsUser=0 ({' and '.join(setters)} must not set runAsUser=0)" if setters else ""


BASELINE: tuple[Check, ...] = (
    app_armor,
    capabilities_baseline,
    host_namespaces,
    host_path_volumes,
    host_ports,
    host_probes,
    privileged,
    proc_mount,
    selinux,
    seccomp_baseline,
    sysctls,
    windows_host_process,
)
"""In upstream's order, by the checks' ids."""
RESTRICTED: tuple[Check, ...] = (
    privilege_escalation,
    capabilities_restricted,
    restricted_volumes,
    run_as_non_root,
    run_as_user,
    seccomp_restricted,
)
"""What restricted adds."""
REPLACED: Mapping[Check, Check] = {
    capabilities_restricted: capabilities_baseline,
    restricted_volumes: host_path_volumes,
    seccomp_restricted: seccomp_baseline,
}
"""Stricter checks, and those of the baseline that they make superfluous."""
SINCE: Mapping[Check, int] = {
    host_probes: 34,
    privilege_escalation: 8,
    capabilities_restricted: 22,
    run_as_user: 23,
    seccomp_restricted: 19,
}
"""The minor version of the standards with which a check began; others were there from the start."""
LEVELS = ("privileged", "baseline", "restricted")


@lru_cache
def checks(level: str, minor: int | None = None) -> tuple[Check, ...]:
    """Return the checks of a level, as of a minor version of the standards; None is the latest."""

    def began(check: Check) -> bool:
        return minor is None or minor >= SINCE.get(check, 0)

    if level == "privileged":
        return ()
    stricter = tuple(one for one in RESTRICTED if began(one)) if level == "restricted" else ()
    replaced = {REPLACED.get(one) for one in stricter}
    found = (*(one for one in BASELINE if began(one) and one not in replaced), *stricter)
    return tuple(_as_of(one, level, minor) for one in found)


def _as_of(check: Check, level: str, minor: int | None) -> Check:
    """Return a check as it stood in a version of the standards."""

    def known(added: Mapping[int, frozenset[str]]) -> frozenset[str]:
        return frozenset().union(*(names for since, names in added.items() if minor is None or minor >= since))

    if check is sysctls:
        return partial(sysctls, allowed=known(SYSCTLS))
    if check is selinux:
        return partial(selinux, allowed=known(SELINUX_TYPES))
    is_relaxed = minor is None or minor >= RELAXED_SINCE
    if is_relaxed and (check in (run_as_non_root, run_as_user) or (check is proc_mount and level == "baseline")):
        return partial(_unless_own_users, check)
    return check


def _unless_own_users(check: Check, spec: Object, annotations: Mapping[str, str]) -> str:
    return "" if spec.get("hostUsers") is False else check(spec, annotations)


def evaluate(level: str, spec: Object, annotations: Mapping[str, str], *, minor: int | None = None) -> list[str]:
    """Return why a pod is not of a level, one entry a check."""
    found = (check(spec, annotations) for check in checks(level, minor))
    return [problem for problem in found if problem]
