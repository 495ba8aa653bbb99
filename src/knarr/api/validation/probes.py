"""Probes and lifecycle hooks of containers.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.validation.collector import Errors, Object

_PROBE_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_HOOK_HANDLERS = ("exec", "httpGet", "tcpSocket", "sleep")
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_WINDOWS_SIGNALS = ("SIGKILL", "SIGTERM")
_SIGNALS = frozenset({
    "SIGABRT", "SIGALRM", "SIGBUS", "SIGCHLD", "SIGCLD", "SIGCONT", "SIGFPE", "SIGHUP", "SIGILL", "SIGINT", "SIGIO",
    "SIGIOT", "SIGKILL", "SIGPIPE", "SIGPOLL", "SIGPROF", "SIGPWR", "SIGQUIT", "SIGSEGV", "SIGSTKFLT", "SIGSTOP",
    "SIGSYS", "SIGTERM", "SIGTRAP", "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGURG", "SIGUSR1", "SIGUSR2", "SIGVTALRM",
    "SIGWINCH", "SIGXCPU", "SIGXFSZ", "SIGRTMIN", "SIGRTMAX",
    *(f"SIGRTMIN+{number}" for number in range(1, 16)),
    *(f"SIGRTMAX-{number}" for number in range(1, 15)),
})  # fmt: skip


def probe(errors: Errors, value: Object, kind: str, path: str) -> None:
    """Check a probe.

    Args:
        errors: Receives what is wrong.
        value: The probe.
        kind: "livenessProbe", "readinessProbe" or "startupProbe".
        path: Its field.
    """
    _handler(errors, value, _PROBE_HANDLERS, None, path)
    errors.not_negatives(value, path, *_NUMBERS)
    grace = value.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0")
    if kind == "readinessProbe":
        if grace is not None:
            errors.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must not be set for readinessProbes")
    elif (value.get("successThreshold") or 0) != 1:
        errors.invalid(f"{path}.successThreshold", value.get("successThreshold") or 0, "must be 1")


def lifecycle(errors: Errors, value: Object, grace_s: int | None, os: str, path: str) -> None:
    """Check `lifecycle` of a container."""
    for hook in ("postStart", "preStop"):
        if value.get(hook) is not None:
            _handler(errors, value[hook], _HOOK_HANDLERS, grace_s, f"{path}.{hook}")
    signal = value.get("stopSignal")
    if signal is None:
        return
    if not os:
        errors.forbidden(f"{path}.stopSignal", "may not be set for containers with empty `spec.os.name`")
    elif os == "windows":
        errors.one_of(f"{path}.stopSignal", signal, _WINDOWS_SIGNALS, required=False)
    elif signal not in _SIGNALS:
        errors.unsupported(f"{path}.stopSignal", signal, sorted(_SIGNALS))


def _handler(errors: Errors, value: Object, kinds: tuple[str, ...], grace_s: int | None, path: str) -> None:
    given = [kind for kind in kinds if value.get(kind) is not None]
    if not given:
        errors.required(path, "must specify a handler type")
        return
    kind, action = given[0], value[given[0]]
    here = f"{path}.{kind}"
    if kind == "exec":
        if not action.get("command"):
            errors.required(f"{here}.command")
    elif kind == "httpGet":
        _http_get(errors, action, here)
    elif kind == "sleep":
        seconds = action.get("seconds") or 0
        if grace_s is not None and not 0 <= seconds <= grace_s:
            words = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_s})"
            errors.invalid(here, seconds, words)
    else:
        port(errors, action.get("port") or 0, f"{here}.port")
    for other in given[1:]:
        errors.forbidden(f"{path}.{other}", "may not specify more than 1 handler type")


def _http_get(errors: Errors, action: Object, path: str) -> None:
    if not action.get("path"):
        errors.required(f"{path}.path")
    port(errors, action.get("port") or 0, f"{path}.port")
    errors.one_of(f"{path}.scheme", action.get("scheme"), ("HTTP", "HTTPS"), required=False)
    for header in action.get("httpHeaders") or ():
        name = header.get("name") or ""
        errors.all_invalid(f"{path}.httpHeaders", name, names.http_header_name(name))


def port(errors: Errors, value: Any, path: str) -> None:
    """Check a port's number or name."""
    errors.all_invalid(path, value, names.port_name(value) if isinstance(value, str) else names.port_number(value))
