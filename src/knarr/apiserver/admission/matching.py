"""Which requests a webhook or an admission policy is for: rules, scopes, selectors, and the same resource in other versions.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/predicates, plugin/policy/matching, plugin/webhook/generic/webhook.go
(ShouldCallHook) (v1.37).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from knarr.api import errors, labels
from knarr.api.scheme import Resource, Scheme, Subresource
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest
from knarr.apiserver.registry import Registry

Object = dict[str, Any]

_CONFIGURATION = "admissionregistration.k8s.io"
_EXEMPT = frozenset(
    (
        "ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding",
    )
)  # fmt: skip

_ANYTHING: Mapping[str, Any] = {
    "operations": ("*",), "apiGroups": ("*",), "apiVersions": ("*",), "resources": ("*/*",),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """As what a request is presented.

    Attributes:
        resource: The resource, in the version that a rule names.
        kind: A resource whose kind and version the object has: the same, or that of a subresource such as Scale.
    """

    resource: Resource
    kind: Resource


def is_exempt(request: AdmissionRequest) -> bool:
    """Return whether a request configures admission itself, and so is never judged by what it configures."""
    return request.resource.group == _CONFIGURATION and request.resource.kind in _EXEMPT


def namespace_of(request: AdmissionRequest) -> str:
    """Return the namespace of a request; of one about a Namespace, its name."""
    return request.namespace or (request.name if _is_namespace(request.resource) else "")


def kind_of(scheme: Scheme, resource: Resource, subresource: str) -> Resource:
    """Return what has the kind of the objects of a request: the resource, or one made up for the kind of a subresource."""
    sub = resource.subresource(subresource) if subresource else None
    if sub is None or (sub.group, sub.version, sub.kind) == (resource.group, resource.version, resource.kind):
        return resource
    return _made_up(scheme, resource, sub)


@lru_cache(256)
def _made_up(scheme: Scheme, resource: Resource, sub: Subresource) -> Resource:
    package = next((one.definition.rpartition(".")[0] for one in scheme.resources(sub.group, sub.version)), "")
    return Resource(
        group=sub.group,
        version=sub.version,
        kind=sub.kind,
        plural=resource.plural,
        singular="",
        namespaced=resource.namespaced,
        verbs=sub.verbs,
        definition=f"{package}.{sub.kind}",
    )


class Matcher:
    """Matches requests.

    Args:
        registry: Has the scheme and the namespaces.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def match(
        self, request: AdmissionRequest, criteria: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]
    ) -> Match | None:
        """Return as what a request matches, None if it does not.

        Args:
            request: The request.
            criteria: Has `namespaceSelector`, `objectSelector` and `matchPolicy`: a webhook, or the matchConstraints of a policy.
            rules: Rules with operations; the first that matches decides.

        Raises:
            NotFound: its namespace is gone, and a rule and the object selector match.
        """
        missing: errors.NotFound | None = None
        try:
            if not self._is_namespace_selected(request, criteria.get("namespaceSelector")):
                return None
        except errors.NotFound as err:
            missing = err
        if not _is_object_selected(request, criteria.get("objectSelector")):
            return None
        found = self.find_rule(request, rules, is_equivalent=criteria.get("matchPolicy") == "Equivalent")
        if found is not None and missing is not None:
            raise missing
        return found

    def find_rule(
        self, request: AdmissionRequest, rules: Iterable[Mapping[str, Any]], *, is_equivalent: bool
    ) -> Match | None:
        """Return as what the first rule sees a request; as it is, or else with `is_equivalent` in another version."""
        rules = tuple(rules)
        scheme = self._registry.scheme
        for rule in rules:
            if is_rule_for(rule, request, request.resource):
                return Match(request.resource, kind_of(scheme, request.resource, request.subresource))
        if not is_equivalent:
            return None
        others = [one for one in scheme.versions(request.resource) if one is not request.resource]
        for rule in rules:
            for other in others:
                if request.subresource and other.subresource(request.subresource) is None:
                    continue
                if is_rule_for(rule, request, other):
                    return Match(other, kind_of(scheme, other, request.subresource))
        return None

    def match_policy(self, request: AdmissionRequest, resources: Mapping[str, Any] | None) -> Match | None:
        """Return as what a request matches the matchConstraints of a policy or the matchResources of a binding.

        Args:
            request: The request.
            resources: MatchResources; None matches everything.

        Raises:
            NotFound: as `match`.
        """
        own = Match(request.resource, kind_of(self._registry.scheme, request.resource, request.subresource))
        if resources is None:
            return own
        is_equivalent = resources.get("matchPolicy") == "Equivalent"
        excluded = resources.get("excludeResourceRules") or ()
        if excluded and self.find_rule(request, excluded, is_equivalent=is_equivalent) is not None:
            return None
        rules = resources.get("resourceRules") or ()
        return self.match(request, resources, rules or (_ANYTHING,))

    def namespace(self, request: AdmissionRequest) -> Object | None:
        """Return the namespace that a request is about; None in cluster scope.

        Raises:
            NotFound: it does not exist.
        """
        if _is_namespace(request.resource) and not request.subresource and request.operation in (CREATE, UPDATE):
            return request.object
        name = namespace_of(request)
        if not name:
            return None
        found = self._registry.get("namespaces", "", name)
        if found is None:
            raise errors.NotFound("", "namespaces", name)
        return found

    def _is_namespace_selected(self, request: AdmissionRequest, selector: Object | None) -> bool:
        if not namespace_of(request) and not _is_namespace(request.resource):
            return True
        if is_empty(selector):
            return True
        namespace = self.namespace(request) or {}
        return compile_selector(selector).matches((namespace.get("metadata") or {}).get("labels") or {})


def is_rule_for(rule: Mapping[str, Any], request: AdmissionRequest, resource: Resource) -> bool:
    """Return whether a rule with operations names a request, looked at as one about `resource`."""
    operations = rule.get("operations") or ()
    return (
        ("*" in operations or request.operation in operations)
        and _has(rule.get("apiGroups"), resource.group)
        and _has(rule.get("apiVersions"), resource.version)
        and _is_scope(rule.get("scope"), request)
        and request.name in (rule.get("resourceNames") or (request.name,))
        and any(_is_resource(one, resource.plural, request.subresource) for one in rule.get("resources") or ())
    )


def is_empty(selector: Mapping[str, Any] | None) -> bool:
    """Return whether a label selector selects everything."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def compile_selector(selector: Mapping[str, Any] | None) -> labels.Selector:
    """Return a label selector that can match; kept for the next time."""
    return _compiled(msgspec.json.encode(selector or {}, order="sorted"))


@lru_cache(1024)
def _compiled(encoded: bytes) -> labels.Selector:
    return labels.from_object(msgspec.json.decode(encoded))


def _is_object_selected(request: AdmissionRequest, selector: Object | None) -> bool:
    if is_empty(selector):
        return True
    compiled = compile_selector(selector)
    for obj in (request.object, request.old):
        if obj is not None and compiled.matches((obj.get("metadata") or {}).get("labels") or {}):
            return True
    return False


def _is_namespace(resource: Resource) -> bool:
    return resource.plural == "namespaces" and resource.group == ""


def _has(items: Sequence[str] | None, wanted: str) -> bool:
    return items is not None and ("*" in items or wanted in items)


def _is_scope(scope: str | None, request: AdmissionRequest) -> bool:
    if scope in (None, "", "*"):
        return True
    is_in_namespace = bool(request.namespace) and not _is_namespace(request.resource)
    return is_in_namespace if scope == "Namespaced" else not is_in_namespace if scope == "Cluster" else False


def _is_resource(pattern: str, plural: str, subresource: str) -> bool:
    name, _, sub = pattern.partition("/")
    return name in ("*", plural) and sub in ("*", subresource)
