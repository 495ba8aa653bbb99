"""Policy rules: what one rule of a role allows, and which permissions a set of rules leaves uncovered.

Source: pkg/apis/rbac/v1/evaluation_helpers.go and k8s.io/component-helpers/auth/rbac/validation (v1.37).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from knarr.apiserver.requestinfo import RequestInfo

ANY = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """One PolicyRule.

    Attributes:
        verbs: Such as "get"; "*" is all.
        groups: API groups.
        resources: Such as "pods", "pods/log", "*/scale".
        names: If any, only objects of these names.
        urls: Paths that are no resources; a trailing "*" stands for anything.
    """

    verbs: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()

    @classmethod
    def read(cls, rule: Mapping[str, Any]) -> "Rule":
        """Read a PolicyRule."""
        return cls(
            tuple(rule.get("verbs") or ()),
            tuple(rule.get("apiGroups") or ()),
            tuple(rule.get("resources") or ()),
            tuple(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def to_object(self) -> dict[str, Any]:
        """Return it as a PolicyRule."""
        fields = {
            "verbs": self.verbs,
            "apiGroups": self.groups,
            "resources": self.resources,
            "resourceNames": self.names,
            "nonResourceURLs": self.urls,
        }
        return {name: list(values) for name, values in fields.items() if values}

    def is_allowing(self, info: RequestInfo) -> bool:
        """Return whether it allows a request."""
        if info.verb not in self.verbs and ANY not in self.verbs:
            return False
        if not info.is_resource_request:
            return any(_is_url_covered(url, info.path) for url in self.urls)
        return (
            (info.group in self.groups or ANY in self.groups)
            and self._has_resource(info.resource, info.subresource)
            and (not self.names or info.name in self.names)
        )

    def _has_resource(self, resource: str, subresource: str) -> bool:
        if ANY in self.resources:
            return True
        if not subresource:
            return resource in self.resources
        return f"{resource}/{subresource}" in self.resources or f"*/{subresource}" in self.resources

    def is_covering(self, other: "Rule") -> bool:
        """Return whether it allows all that `other`, which has one value in each field, allows."""
        if not (ANY in self.verbs or set(other.verbs) <= set(self.verbs)):
            return False
        if other.urls:
            return all(any(_is_url_covered(url, path) for url in self.urls) for path in other.urls)
        if not (ANY in self.groups or set(other.groups) <= set(self.groups)):
            return False
        if not all(self._has_resource(*split_resource(resource)) for resource in other.resources):
            return False
        return not self.names or (bool(other.names) and set(other.names) <= set(self.names))

    def split(self) -> Iterable["Rule"]:
        """Return the rules of one verb, group, resource and name each that together make this one."""
        for group in self.groups:
            for resource in self.resources:
                for verb in self.verbs:
                    if not self.names:
                        yield Rule((verb,), (group,), (resource,))
                    for name in self.names:
                        yield Rule((verb,), (group,), (resource,), (name,))
        for url in self.urls:
            for verb in self.verbs:
                yield Rule((verb,), urls=(url,))

    def __str__(self) -> str:
        fields = {
            "APIGroups": self.groups,
            "Resources": self.resources,
            "NonResourceURLs": self.urls,
            "ResourceNames": self.names,
            "Verbs": self.verbs,
        }
        return "{" + ", ".join(f"{name}:{format_list(values)}" for name, values in fields.items() if values) + "}"


def split_resource(resource: str) -> tuple[str, str]:
    """Return a resource and its subresource: "pods/log" gives "pods", "log"."""
    name, _, subresource = resource.partition("/")
    return name, subresource


def uncovered(owned: Sequence[Rule], wanted: Iterable[Rule]) -> list[Rule]:
    """Return what `wanted` allows and `owned` does not, one verb, group, resource and name a rule."""
    return [
        one
        for rule in wanted
        for one in dict.fromkeys(rule.split())
        if not any(mine.is_covering(one) for mine in owned)
    ]


def compact(rules: Iterable[Rule]) -> list[Rule]:
    """Merge single rules that differ in their verbs alone, sorted as they print."""
    merged: dict[Rule, list[str]] = {}
    for rule in rules:
        key = Rule((), rule.groups, rule.resources, rule.names, rule.urls)
        verbs = merged.setdefault(key, [])
        verbs += [verb for verb in rule.verbs if verb not in verbs]
    found = [Rule(tuple(verbs), key.groups, key.resources, key.names, key.urls) for key, verbs in merged.items()]
    return sorted(found, key=str)


def format_list(values: Iterable[str]) -> str:
    """Print strings as Go's %q does a slice: `["a" "b"]`."""
    return "[" + " ".join(json.dumps(value, ensure_ascii=False) for value in values) + "]"


def _is_url_covered(rule: str, path: str) -> bool:
    if rule in (ANY, path):
        return True
    return rule.endswith("*") and path.startswith(rule.rstrip("*"))
