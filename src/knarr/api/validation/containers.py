"""Containers of every sort: regular, init and ephemeral ones.

Source: k8s.io/kubernetes/pkg/apis/core/validation/validation.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knarr.api import names
from knarr.api.validation import environment, mounts, probes, resources, security
from knarr.api.validation.collector import Errors, Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
_RULES_AT_MOST = 20
_EXIT_CODES_AT_MOST = 255
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_ALLOWED_EPHEMERAL = frozenset({
    "name", "image", "command", "args", "workingDir", "envFrom", "env", "volumeMounts", "volumeDevices",
    "terminationMessagePath", "terminationMessagePolicy", "imagePullPolicy", "securityContext", "stdin", "stdinOnce",
    "tty", "targetContainerName",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the containers of a pod are checked against.

    Attributes:
        volumes: The valid volumes by name.
        claims: The names in `resourceClaims`.
        grace_s: `terminationGracePeriodSeconds`; None if it is missing.
        restart_policy: Of the pod.
        is_host_user: Whether the pod shares the host's user namespace.
        os: The name in `os`, or "".
    """

    volumes: dict[str, Object]
    claims: set[str]
    grace_s: int | None
    restart_policy: str
    is_host_user: bool
    os: str


def regular(errors: Errors, containers: Sequence[Object], around: Surroundings, path: str) -> None:
    """Check the regular containers, of which there must be one."""
    if not containers:
        errors.required(path)
        return
    seen: set[str] = set()
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        _any(errors, container, around, here)
        name = container.get("name") or ""
        if name in seen:
            errors.duplicate(f"{here}.name", name)
        seen.add(name)
        _lifecycle_and_probes(errors, container, around, here)
        _restart_rules(errors, container, here, RESTART_POLICIES)
    host_ports(errors, containers, set(), path)


def init(
    errors: Errors, containers: Sequence[Object], others: Sequence[Object], around: Surroundings, path: str
) -> None:
    """Check the init containers, whose names may not be those of `others` either."""
    seen = {container.get("name") or "" for container in others}
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        _any(errors, container, around, here)
        _restart_rules(errors, container, here, RESTART_POLICIES)
        name = container.get("name") or ""
        if name in seen:
            errors.duplicate(f"{here}.name", name)
        elif name:
            seen.add(name)
        host_ports(errors, [container], set(), path)
        if is_sidecar(container):
            _lifecycle_and_probes(errors, container, around, here)
            continue
        for field in ("lifecycle", *_PROBES):
            if container.get(field) is not None:
                errors.forbidden(f"{here}.{field}", "may not be set for init containers without restartPolicy=Always")


def ephemeral(
    errors: Errors, containers: Sequence[Object], others: Sequence[Object], around: Surroundings, path: str
) -> None:
    """Check the ephemeral containers, which may do less, and whose target must be one of `others`."""
    targets = {container.get("name") or "" for container in others}
    seen = set(targets)
    for index, container in enumerate(containers):
        here = f"{path}[{index}]"
        _any(errors, container, around, here)
        image_is_trimmed(errors, container, here)
        name, target = container.get("name") or "", container.get("targetContainerName") or ""
        if name in seen:
            errors.duplicate(f"{here}.name", name)
        seen.add(name)
        if target and target not in targets:
            errors.not_found(f"{here}.targetContainerName", target)
        for field, value in container.items():
            if field not in _ALLOWED_EPHEMERAL and value not in (None, "", [], {}):
                errors.forbidden(f"{here}.{field}", "cannot be set for an Ephemeral Container")
        for position, mount in enumerate(container.get("volumeMounts") or ()):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    words = "cannot be set for an Ephemeral Container"
                    errors.forbidden(f"{here}.volumeMounts[{position}].{field}", words)


def is_sidecar(container: Object) -> bool:
    """Return whether an init container keeps running beside the regular ones."""
    return container.get("restartPolicy") == "Always"


def image_is_trimmed(errors: Errors, container: Object, path: str) -> None:
    """Check what only pods demand, not templates: no spaces around the image."""
    image = container.get("image") or ""
    if image != image.strip():
        errors.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def _any(errors: Errors, container: Object, around: Surroundings, path: str) -> None:
    get = container.get
    name = get("name") or ""
    if name:
        errors.all_invalid(f"{path}.name", name, names.dns_label(name))
    else:
        errors.required(f"{path}.name")
    if not get("image"):
        errors.required(f"{path}.image")
    policies = ("File", "FallbackToLogsOnError")
    errors.one_of(f"{path}.terminationMessagePolicy", get("terminationMessagePolicy"), policies)
    if get("ports"):
        _ports(errors, container["ports"], f"{path}.ports")
    if get("env"):
        environment.variables(errors, container["env"], around.volumes, f"{path}.env")
    if get("envFrom"):
        environment.sources(errors, container["envFrom"], f"{path}.envFrom")
    if get("volumeMounts"):
        mounts.volume_mounts(errors, container, around.volumes, f"{path}.volumeMounts")
    if get("volumeDevices"):
        mounts.volume_devices(errors, container, around.volumes, f"{path}.volumeDevices")
    errors.one_of(f"{path}.imagePullPolicy", get("imagePullPolicy"), PULL_POLICIES)
    if get("resources"):
        resources.container_requirements(errors, container["resources"], around.claims, f"{path}.resources")
    if get("resizePolicy"):
        _resize_policy(errors, container["resizePolicy"], around, f"{path}.resizePolicy")
    if get("securityContext"):
        host_users = around.is_host_user
        context = container["securityContext"]
        security.of_container(errors, context, f"{path}.securityContext", is_host_user=host_users)


def _ports(errors: Errors, ports: Sequence[Object], path: str) -> None:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        here, name = f"{path}[{index}]", port.get("name") or ""
        if name:
            complaints = names.port_name(name)
            errors.all_invalid(f"{here}.name", name, complaints)
            if not complaints and name in seen:
                errors.duplicate(f"{here}.name", name)
            seen.add(name)
        number = port.get("containerPort") or 0
        if number:
            errors.all_invalid(f"{here}.containerPort", number, names.port_number(number))
        else:
            errors.required(f"{here}.containerPort")
        on_host = port.get("hostPort") or 0
        if on_host:
            errors.all_invalid(f"{here}.hostPort", on_host, names.port_number(on_host))
        errors.one_of(f"{here}.protocol", port.get("protocol"), PROTOCOLS)


def host_ports(errors: Errors, containers: Sequence[Object], taken: set[str], path: str) -> None:
    """Check that no two containers want one port of the host.

    Args:
        errors: Receives what is wrong.
        containers: The containers.
        taken: The ports that are; grows.
        path: The containers' field.
    """
    for index, container in enumerate(containers):
        for position, port in enumerate(container.get("ports") or ()):
            number = port.get("hostPort") or 0
            if not number:
                continue
            text = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{number}"
            if text in taken:
                errors.duplicate(f"{path}[{index}].ports[{position}].hostPort", text)
            taken.add(text)


def _lifecycle_and_probes(errors: Errors, container: Object, around: Surroundings, path: str) -> None:
    if container.get("lifecycle"):
        probes.lifecycle(errors, container["lifecycle"], around.grace_s, around.os, f"{path}.lifecycle")
    for field in _PROBES:
        if container.get(field) is not None:
            probes.probe(errors, container[field], field, f"{path}.{field}")


def _restart_rules(errors: Errors, container: Object, path: str, supported: tuple[str, ...]) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is not None and policy not in supported:
        errors.unsupported(f"{path}.restartPolicy", policy, supported)
    if not rules:
        return
    if policy is None:
        errors.required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    elif policy == "Always" and "initContainers" in path:
        errors.forbidden(f"{path}.restartPolicyRules", "may not be specified for sidecar containers")
    if len(rules) > _RULES_AT_MOST:
        errors.too_many(f"{path}.restartPolicyRules", len(rules), _RULES_AT_MOST)
    for index, rule in enumerate(rules):
        here = f"{path}.restartPolicyRules[{index}]"
        errors.one_of(f"{here}.action", rule.get("action"), ("Restart",), required=False)
        codes = rule.get("exitCodes")
        if codes is None:
            errors.required(f"{here}.exitCodes", "must be specified")
            continue
        errors.one_of(f"{here}.exitCodes.operator", codes.get("operator"), ("In", "NotIn"), required=False)
        if len(codes.get("values") or ()) > _EXIT_CODES_AT_MOST:
            errors.too_many(f"{here}.exitCodes.values", len(codes["values"]), _EXIT_CODES_AT_MOST)


def _resize_policy(errors: Errors, policies: Sequence[Object], around: Surroundings, path: str) -> None:
    seen: set[Any] = set()
    for index, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            errors.duplicate(f"{path}[{index}]", name)
        seen.add(name)
        errors.one_of(path, name, ("cpu", "memory"))
        errors.one_of(path, restart, ("NotRequired", "RestartContainer"))
        if around.restart_policy == "Never" and restart != "NotRequired":
            errors.invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'")
