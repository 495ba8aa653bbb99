"""Which policies a request meets: each with a binding that matches, and with each of its parameters.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go (v1.37).
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from knarr.api import errors
from knarr.apiserver.admission.chain import AdmissionRequest, Context
from knarr.apiserver.admission.matching import Match, Matcher
from knarr.apiserver.admission.policies_params import Misconfigured, collect, find_kind
from knarr.apiserver.admission.policies_source import Policy

Object = dict[str, Any]
Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Invocation(Generic[Body]):
    """A policy that a request meets.

    Attributes:
        policy: The policy.
        binding: The name of the binding; empty if the policy itself is at fault.
        actions: The validationActions of the binding.
        match: As what the policy sees the request; None if it cannot be judged.
        params: The parameters.
        error: Why it cannot be judged; empty if it can.
    """

    policy: Policy[Body]
    binding: str = ""
    actions: tuple[str, ...] = ()
    match: Match | None = None
    params: tuple[Object | None, ...] = ()
    error: str = ""


async def meet(
    context: Context, matcher: Matcher, request: AdmissionRequest, policies: tuple[Policy[Body], ...]
) -> AsyncIterator[Invocation[Body]]:
    """Yield the policies that a request meets.

    Args:
        context: Has the parameters.
        matcher: Matches.
        request: The request.
        policies: All of them, in order.
    """
    for policy in policies:
        try:
            match = matcher.match_policy(request, policy.spec.get("matchConstraints"))
        except errors.NotFound as err:
            yield Invocation(policy, error=f"failed to configure policy: {err.message}")
            continue
        if match is None:
            continue
        try:
            kind = find_kind(context, policy.spec.get("paramKind"))
        except Misconfigured as err:
            yield Invocation(policy, error=f"failed to configure policy: {err}")
            continue
        for binding in policy.bindings:
            name, spec = binding["metadata"]["name"], binding["spec"]
            try:
                if matcher.match_policy(request, spec.get("matchResources")) is None:
                    continue
                params = await collect(context, request, kind, spec.get("paramRef"))
            except (errors.NotFound, Misconfigured) as err:
                why = err.message if isinstance(err, errors.NotFound) else str(err)
                yield Invocation(policy, name, error=f"failed to configure binding: {why}")
                continue
            if params:
                yield Invocation(policy, name, tuple(spec.get("validationActions") or ()), match, tuple(params))


def namespace_for(matcher: Matcher, request: AdmissionRequest) -> Object | None:
    """Return the namespace of a request's object; None in cluster scope, and for namespaces themselves.

    Raises:
        NotFound: it does not exist.
    """
    return matcher.namespace(request) if request.namespace else None
