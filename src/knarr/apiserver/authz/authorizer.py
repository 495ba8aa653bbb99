"""What a user may do: the first authorizer that has an opinion decides; without one the answer is no.

Upstream counterpart: k8s.io/apiserver/pkg/authorization/{authorizer,union} (v1.37).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from knarr.api import errors
from knarr.api.user import MASTERS, User
from knarr.apiserver.authz.rules import Rule
from knarr.apiserver.requestinfo import RequestInfo


@dataclass(frozen=True, slots=True)
class Decision:
    """What an authorizer says.

    Attributes:
        allowed: Whether the user may.
        reason: Why, for people; may be empty.
        denied: Whether nobody else may allow it either.
    """

    allowed: bool
    reason: str = ""
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """What a user may do in a namespace, as SelfSubjectRulesReview tells it.

    Attributes:
        resource_rules: PolicyRules about resources.
        non_resource_rules: PolicyRules about paths.
        incomplete: Whether an authorizer cannot list its rules.
        error: Why the list is incomplete.
    """

    resource_rules: Sequence[dict[str, Any]] = ()
    non_resource_rules: Sequence[dict[str, Any]] = ()
    incomplete: bool = False
    error: str = ""


class Mode(Protocol):
    """One authorizer."""

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Return whether the user may do this, `allowed` false meaning no opinion."""

    def rules_for(self, user: User, namespace: str) -> Rules:
        """Return what the user may do in a namespace, and everywhere."""


@runtime_checkable
class RemoteMode(Mode, Protocol):
    """An authorizer that asks others: `authorize` gives what it remembers."""

    async def decide(self, user: User, info: RequestInfo) -> Decision:
        """Return what is said of it now."""


class Always:
    """The same answer for everybody.

    Args:
        allowed: The answer.
    """

    def __init__(self, *, allowed: bool) -> None:
        self._decision = Decision(allowed, "" if allowed else "Everything is forbidden.")

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Return the answer."""
        return self._decision

    def rules_for(self, user: User, namespace: str) -> Rules:
        """Return everything or nothing."""
        if not self._decision.allowed:
            return Rules()
        resources = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        return Rules((resources,), ({"verbs": ["*"], "nonResourceURLs": ["*"]},))


class Grants(Protocol):
    """What is known of roles: the part of RBAC by which nobody gives away more than he has."""

    def policy_rules(self, user: User, namespace: str) -> tuple[list[Rule], list[str]]:
        """Return a user's rules in a namespace and everywhere, and which roles are bound but missing."""

    def rules_of(self, role_ref: dict[str, Any], namespace: str) -> tuple[Rule, ...]:
        """Return the rules of the role that a binding in a namespace refers to; NotFound if there is none."""


class Authorizer:
    """Members of system:masters may do anything; everybody else what one of the modes allows.

    Args:
        modes: In order.
        grants: The roles, for those who check what is given away.

    Attributes:
        asks_others: Whether one of the modes does.
    """

    def __init__(self, modes: Iterable[Mode], grants: Grants) -> None:
        self._modes = tuple(modes)
        self._decide = tuple(mode.decide if isinstance(mode, RemoteMode) else None for mode in self._modes)
        self.grants = grants
        self.asks_others = any(self._decide)

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Decide whether a user may do what a request asks, by what is known here; others are not asked."""
        if MASTERS in user.groups:
            return Decision(True)
        reasons = []
        for mode in self._modes:
            decision = mode.authorize(user, info)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if decision.denied:
                return Decision(False, "\n".join(reasons), denied=True)
        return Decision(False, "\n".join(reasons))

    async def decide(self, user: User, info: RequestInfo) -> Decision:
        """Decide whether a user may do what a request asks, asking others where they have a say."""
        if not self.asks_others or MASTERS in user.groups:
            return self.authorize(user, info)
        reasons = []
        for mode, decide in zip(self._modes, self._decide, strict=True):
            decision = mode.authorize(user, info) if decide is None else await decide(user, info)
            if decision.allowed:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
            if decision.denied:
                return Decision(False, "\n".join(reasons), denied=True)
        return Decision(False, "\n".join(reasons))

    def rules_for(self, user: User, namespace: str) -> Rules:
        """List what a user may do in a namespace, and everywhere."""
        everything: list[dict[str, Any]] = []
        paths: list[dict[str, Any]] = []
        problems = []
        incomplete = False
        for mode in self._modes:
            rules = mode.rules_for(user, namespace)
            everything += rules.resource_rules
            paths += rules.non_resource_rules
            incomplete = incomplete or rules.incomplete
            if rules.error:
                problems.append(rules.error)
        return Rules(everything, paths, incomplete, "; ".join(problems))


def forbidden(user: User, info: RequestInfo, reason: str) -> errors.Forbidden:
    """Make the error that answers a request which is not allowed.

    Source: k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go (v1.37): the words and what comes first.
    """
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    name = info.name
    if not info.is_resource_request:
        words = f'User "{user.name}" cannot {info.verb} path "{info.path}"'
        return errors.Forbidden("", "", "", f"{words}: {reason}" if reason else words)
    words = f'User "{user.name}" cannot {info.verb} resource "{resource}" in API group "{info.group}"'
    words += f' in the namespace "{info.namespace}"' if info.namespace else " at the cluster scope"
    return errors.Forbidden(info.group, info.resource, name, f"{words}: {reason}" if reason else words)
