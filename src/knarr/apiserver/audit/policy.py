"""Audit policies: how much is kept of which requests.

Upstream counterpart: k8s.io/apiserver/pkg/audit/policy, pkg/apis/audit/validation (v1.37).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knarr.api import codec
from knarr.api.user import User
from knarr.apiserver.audit.errors import BadPolicy
from knarr.apiserver.requestinfo import RequestInfo

NONE, METADATA, REQUEST, RESPONSE = "None", "Metadata", "Request", "RequestResponse"
LEVELS = (NONE, METADATA, REQUEST, RESPONSE)
RECEIVED, STARTED, COMPLETE, PANIC = "RequestReceived", "ResponseStarted", "ResponseComplete", "Panic"
STAGES = (RECEIVED, STARTED, COMPLETE, PANIC)
VERSIONS = ("audit.k8s.io/v1", "audit.k8s.io/v1beta1", "audit.k8s.io/v1alpha1")
_GROUP = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_LISTS = ("users", "userGroups", "verbs", "namespaces", "nonResourceURLs", "omitStages", "resources")


@dataclass(frozen=True, slots=True)
class Resources:
    """Resources of one API group.

    Attributes:
        group: "" for core, "*" for all.
        resources: "pods", "pods/log", "pods/*", "*/scale" or "*"; none means all.
        names: Of objects; none means all.
    """

    group: str
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What one rule is about: requests that fit everything which it names."""

    level: str
    users: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    resources: tuple[Resources, ...] = ()
    namespaces: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """What a policy says of a request.

    Attributes:
        level: How much is kept.
        omit_stages: Stages without an event.
        omit_managed_fields: Whether objects are kept without their managedFields.
    """

    level: str = NONE
    omit_stages: frozenset[str] = frozenset()
    omit_managed_fields: bool = False

    @property
    def keeps_request(self) -> bool:
        """Whether the object that is sent is kept."""
        return self.level in (REQUEST, RESPONSE)

    @property
    def keeps_response(self) -> bool:
        """Whether the object that is answered is kept."""
        return self.level == RESPONSE


class Policy:
    """The rules in their order: the first that fits decides; without one nothing is kept.

    Args:
        rules: In order.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [(rule, Choice(rule.level, rule.omit_stages, rule.omit_managed_fields)) for rule in rules]

    def choose(self, user: User | None, info: RequestInfo) -> Choice:
        """Return how much is kept of a request; `user` is None if nobody knows who asks."""
        for rule, choice in self._rules:
            if is_match(rule, user, info):
                return choice
        return Choice()


def load(path: Path) -> Policy:
    """Read a policy file.

    Raises:
        BadPolicy: It cannot be read, or is no valid policy.
    """
    try:
        obj = codec.decode(path.read_bytes(), codec.YAML)
    except OSError as err:
        raise BadPolicy(path, f"failed to read file path: {err.strerror}") from err
    except codec.BadBody as err:
        raise BadPolicy(path, f"failed decoding: {err}") from err
    if obj.get("kind") != "Policy" or obj.get("apiVersion") not in VERSIONS:
        got = f"{obj.get('kind')!r} in {obj.get('apiVersion')!r}"
        raise BadPolicy(path, f"expected kind Policy in audit.k8s.io/v1, got {got}")
    rules = obj.get("rules") or []
    if not rules:
        raise BadPolicy(path, "loaded illegal policy with 0 rules")
    try:
        problems = list(_check(obj))
    except (TypeError, AttributeError) as err:
        raise BadPolicy(path, f"failed decoding: {err}") from err
    if problems:
        raise BadPolicy(path, "; ".join(problems))
    return Policy([_read(rule, obj) for rule in rules])


def is_match(rule: Rule, user: User | None, info: RequestInfo) -> bool:
    """Return whether a rule is about a request."""
    if rule.users and (user is None or user.name not in rule.users):
        return False
    if rule.groups and (user is None or not any(group in rule.groups for group in user.groups)):
        return False
    if rule.verbs and info.verb not in rule.verbs:
        return False
    if rule.namespaces or rule.resources:
        return info.is_resource_request and _is_resource(rule, info)
    if rule.paths:
        return not info.is_resource_request and any(_is_path(path, info.path) for path in rule.paths)
    return True


def _is_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern.rstrip("*")))


def _is_resource(rule: Rule, info: RequestInfo) -> bool:
    if rule.namespaces and info.namespace not in rule.namespaces:
        return False
    if not rule.resources:
        return True
    combined = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    for one in rule.resources:
        if one.group not in ("*", info.group):
            continue
        if not one.resources:
            return True
        if one.names and info.name not in one.names:
            continue
        for pattern in one.resources:
            if pattern in ("*", combined) or pattern == f"{info.resource}/*":
                return True
            if info.subresource and pattern == f"*/{info.subresource}":
                return True
    return False


def _read(rule: dict[str, Any], policy: dict[str, Any]) -> Rule:
    omit_managed_fields = rule.get("omitManagedFields")
    if omit_managed_fields is None:
        omit_managed_fields = policy.get("omitManagedFields", False)
    return Rule(
        level=rule["level"],
        users=tuple(rule.get("users") or ()),
        groups=tuple(rule.get("userGroups") or ()),
        verbs=tuple(rule.get("verbs") or ()),
        resources=tuple(
            Resources(one.get("group") or "", tuple(one.get("resources") or ()), tuple(one.get("resourceNames") or ()))
            for one in rule.get("resources") or ()
        ),
        namespaces=tuple(rule.get("namespaces") or ()),
        paths=tuple(rule.get("nonResourceURLs") or ()),
        omit_stages=frozenset([*(policy.get("omitStages") or ()), *(rule.get("omitStages") or ())]),
        omit_managed_fields=bool(omit_managed_fields),
    )


def _check(policy: dict[str, Any]) -> Sequence[str]:
    problems = _check_stages(policy.get("omitStages"), "omitStages")
    for index, rule in enumerate(policy["rules"]):
        where = f"rules[{index}]"
        problems += [
            f"{where}.{name}: expected a list" for name in _LISTS if not isinstance(rule.get(name, []), list | None)
        ]
        if problems:
            return problems
        level = rule.get("level")
        if not level:
            problems.append(f"{where}.level: Required value")
        elif level not in LEVELS:
            listed = ", ".join(f'"{one}"' for one in sorted(LEVELS))
            problems.append(f'{where}.level: Unsupported value: "{level}": supported values: {listed}')
        problems += _check_stages(rule.get("omitStages"), f"{where}.omitStages")
        if rule.get("nonResourceURLs") and (rule.get("resources") or rule.get("namespaces")):
            words = "rules cannot apply to both regular resources and non-resource URLs"
            problems.append(f"{where}.nonResourceURLs: Invalid value: {rule['nonResourceURLs']}: {words}")
        problems += _check_paths(rule.get("nonResourceURLs") or (), f"{where}.nonResourceURLs")
        for position, one in enumerate(rule.get("resources") or ()):
            problems += _check_group(one, f"{where}.resources[{position}]")
    return problems


def _check_stages(stages: Sequence[str] | None, where: str) -> list[str]:
    listed = ", ".join(STAGES)
    return [
        f'{where}[{index}]: Invalid value: "{stage}": allowed stages are {listed}'
        for index, stage in enumerate(stages or ())
        if stage not in STAGES
    ]


def _check_paths(paths: Sequence[str], where: str) -> list[str]:
    problems = []
    for index, path in enumerate(paths):
        if path == "*":
            continue
        if not path.startswith("/"):
            problems.append(
                f"{where}[{index}]: Invalid value: \"{path}\": non-resource URL rules must begin with a '/' character"
            )
        if "*" in path[:-1]:
            words = "non-resource URL wildcards '*' must be the final character of the rule"
            problems.append(f'{where}[{index}]: Invalid value: "{path}": {words}')
    return problems


def _check_group(one: dict[str, Any], where: str) -> list[str]:
    problems = []
    group = one.get("group") or ""
    if group not in ("", "*") and not _GROUP.fullmatch(group):
        problems.append(f'{where}.group: Invalid value: "{group}": a DNS subdomain or "*" is expected')
    if one.get("resourceNames") and not one.get("resources"):
        words = "using resourceNames requires at least one resource"
        problems.append(f"{where}.resourceNames: Invalid value: {one['resourceNames']}: {words}")
    resources = one.get("resources") or ()
    if len(resources) > 1 and "*" in resources:
        problems.append(
            f"{where}.resources: Invalid value: {list(resources)}: if '*' is present, must be the only resource"
        )
    for position, resource in enumerate(resources):
        if resource == "":
            problems.append(f'{where}.resources[{position}]: Invalid value: "": resource cannot be empty')
    return problems
