"""PodSecurity: the labels of a namespace say how restricted its pods must be.

Upstream counterpart: k8s.io/pod-security-admission/admission (v1.37).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api import errors
from knarr.api.field import FieldError, Path, invalid
from knarr.apiserver.admission import pod_security_checks as checks
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin

PREFIX = "pod-security.kubernetes.io/"
MODES = ("enforce", "audit", "warn")
LATEST = "latest"
_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")
_TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "podtemplates": ("template",),
    "replicationcontrollers": ("spec", "template"),
    "replicasets.apps": ("spec", "template"),
    "deployments.apps": ("spec", "template"),
    "statefulsets.apps": ("spec", "template"),
    "daemonsets.apps": ("spec", "template"),
    "jobs.batch": ("spec", "template"),
    "cronjobs.batch": ("spec", "jobTemplate", "spec", "template"),
}
_MAX_WARNED = 3000
"""Most pods looked at when a namespace becomes stricter."""


@dataclass(frozen=True, slots=True)
class Level:
    """How restricted pods must be.

    Attributes:
        name: "privileged", "baseline" or "restricted".
        version: Of the standards: "latest" or "v1.N".
    """

    name: str = "privileged"
    version: str = LATEST

    def __str__(self) -> str:
        return f"{self.name}:{self.version}"


def read_policy(labels: Mapping[str, str] | None) -> tuple[dict[str, Level], list[FieldError]]:
    """Return the levels that a namespace's labels ask for, by mode, and what is wrong with the labels.

    A wrong level counts as restricted where it is enforced, and as privileged elsewhere.
    """
    labels = labels or {}
    levels, problems = {}, []
    for mode in MODES:
        name, version = labels.get(f"{PREFIX}{mode}"), labels.get(f"{PREFIX}{mode}-version")
        where = Path("metadata.labels")
        if name is not None and name not in checks.LEVELS:
            words = "must be one of privileged, baseline, restricted"
            problems.append(invalid(where.key(f"{PREFIX}{mode}"), name, words))
            name = "restricted" if mode == "enforce" else "privileged"
        if version is not None and version != LATEST and not _VERSION.fullmatch(version):
            words = 'must be "latest" or "v1.x"'
            problems.append(invalid(where.key(f"{PREFIX}{mode}-version"), version, words))
            version = LATEST
        levels[mode] = Level(name or "privileged", version or LATEST)
    return levels, problems


def build(context: Context) -> Plugin:
    """Make the plugin."""
    registry = context.registry

    def levels_of(namespace: str) -> dict[str, Level]:
        found = registry.get("namespaces", "", namespace)
        return read_policy((found or {"metadata": {}})["metadata"].get("labels"))[0]

    def check_namespace(request: AdmissionRequest) -> None:
        assert request.object is not None
        levels, problems = read_policy(request.object["metadata"].get("labels"))
        if request.operation == CREATE:
            if problems:
                raise errors.Invalid("", "Namespace", request.shown_name, problems)
            return
        old_levels, old_problems = read_policy((request.old or {"metadata": {}})["metadata"].get("labels"))
        if problems and not old_problems:
            raise errors.Invalid("", "Namespace", request.name, problems)
        level = levels["enforce"]
        if level == old_levels["enforce"] or level.name == "privileged":
            return
        request.warnings += _warn_of_pods(registry.list("pods", request.name)[:_MAX_WARNED], request.name, level)

    def check_pod(request: AdmissionRequest) -> None:
        pod = request.object
        assert pod is not None
        if request.operation == UPDATE and not _is_significant(pod, request.old or {}):
            return
        levels = levels_of(request.namespace)
        request.annotations[f"{PREFIX}enforce-policy"] = str(levels["enforce"])
        metadata, spec = pod["metadata"], pod["spec"]
        found = {level: _evaluate(level, spec, metadata) for level in set(levels.values())}
        denied = found[levels["enforce"]]
        if denied:
            raise request.forbidden(f'violates PodSecurity "{levels["enforce"]}": {denied}')
        _report(request, levels, found)

    def check_template(request: AdmissionRequest) -> None:
        template: Any = request.object
        for field in _TEMPLATES[request.target]:
            template = (template or {}).get(field)
        if not template:
            return
        levels = levels_of(request.namespace)
        spec, metadata = template.get("spec") or {}, template.get("metadata") or {}
        _report(request, levels, {level: _evaluate(level, spec, metadata) for level in set(levels.values())})

    async def validate(request: AdmissionRequest) -> None:
        if request.object is None:
            return
        if request.target == "namespaces":
            check_namespace(request)
        elif request.target in _TEMPLATES:
            check_template(request)
        else:
            check_pod(request)

    targets = frozenset({"namespaces", "pods", "pods/ephemeralcontainers", *_TEMPLATES})
    return Plugin("PodSecurity", frozenset({CREATE, UPDATE}), targets, validate=validate)


def _evaluate(level: Level, spec: Object, metadata: Object) -> str:
    minor = None if level.version == LATEST else int(level.version.removeprefix("v1."))
    return ", ".join(checks.evaluate(level.name, spec, metadata.get("annotations") or {}, minor=minor))


def _report(request: AdmissionRequest, levels: Mapping[str, Level], found: Mapping[Level, str]) -> None:
    audited, warned = levels["audit"], levels["warn"]
    if found[audited]:
        note = f'would violate PodSecurity "{audited}": {found[audited]}'
        request.annotations[f"{PREFIX}audit-violations"] = note
    if found[warned]:
        request.warnings.append(f'would violate PodSecurity "{warned}": {found[warned]}')


def _is_significant(new: Object, old: Object) -> bool:
    """Return whether an update changes what the standards look at; most of a pod cannot change."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        images = [
            [(one["name"], one.get("image")) for one in (pod.get("spec") or {}).get(kind) or ()] for pod in (new, old)
        ]
        if images[0] != images[1]:
            return True
    annotations = [
        {
            key: value
            for key, value in (pod["metadata"].get("annotations") or {}).items()
            if key.startswith(checks.APPARMOR_ANNOTATION)
        }
        for pod in (new, old)
    ]
    return annotations[0] != annotations[1]


def _warn_of_pods(pods: list[Object], namespace: str, level: Level) -> list[str]:
    by_problem: dict[str, list[str]] = {}
    for pod in pods:
        problem = _evaluate(level, pod["spec"], pod["metadata"])
        if problem:
            # People know pods by what made them: those of one maker and problem are told as one.
            by_problem.setdefault(_reasons(problem), []).append(pod["metadata"]["name"])
    if not by_problem:
        return []
    warnings = [f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}"']
    lines = []
    for problem, names in by_problem.items():
        first, others = min(names), len(names) - 1
        more = f" (and {others} other {'pod' if others == 1 else 'pods'})" if others else ""
        lines.append(f"{first}{more}: {problem}")
    return warnings + sorted(lines)


def _reasons(problem: str) -> str:
    """Return a problem's reasons without their details: nested parentheses do not occur."""
    return re.sub(r" \([^)]*\)", "", problem)
