"""What expressions see of a request, and match conditions: by which webhooks and policies choose requests themselves.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions/matcher.go, plugin/cel/condition.go (v1.37).
"""

from collections.abc import Sequence
from typing import Any

from knarr.api.policies import environments
from knarr.api.policies.expressions import Expression
from knarr.api.policies.running import Evaluation
from knarr.api.user import ALL_AUTHENTICATED, User
from knarr.apiserver.admission import webhooks_review as reviews
from knarr.apiserver.admission.chain import AdmissionRequest, Context
from knarr.apiserver.admission.matching import Match
from knarr.apiserver.admission.versions import Versions
from knarr.apiserver.authn import claims
from knarr.apiserver.requestinfo import RequestInfo
from knarr.lang import cel
from knarr.lang.cel.libraries import authorization

Object = dict[str, Any]

_NAMESPACE_METADATA = frozenset(environments.NAMESPACE.fields["metadata"].fields)


class ConditionFailed(Exception):
    """Raised when conditions cannot be judged and the owner fails closed; the message says why."""


class Conditions:
    """Evaluates expressions for requests.

    Args:
        context: Has the authorizer and the scheme.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    async def evaluation(
        self,
        request: AdmissionRequest,
        match: Match,
        versions: Versions,
        *,
        params: Object | None = None,
        namespace: Object | None = None,
        variables: dict[str, Expression] | None = None,
    ) -> Evaluation:
        """Return what gives values to expressions.

        Args:
            request: The request.
            match: As what it is seen.
            versions: The objects.
            params: The parameter of a policy.
            namespace: The namespace of the object.
            variables: The policy's own.
        """
        resource = match.resource
        bindings = {
            "object": await versions.get(match, is_old=False),
            "oldObject": await versions.get(match, is_old=True),
            "request": reviews.facts(request, match, self._context.registry.scheme),
            "namespaceObject": _shown(namespace),
            "params": params,
            "authorizer": authorization.authorizer(),
            environments.RESOURCE_CHECK: authorization.resource_check(
                resource.group, resource.plural, request.subresource, request.namespace, request.name
            ),
        }
        return Evaluation(bindings, variables or {}, lambda question: self._decide(request.user, question))

    @staticmethod
    def are_met(evaluation: Evaluation, conditions: Sequence[tuple[str, Expression]], *, fails_open: bool) -> bool:
        """Return whether all conditions hold; one that does not decides, even if others cannot be judged.

        Raises:
            ConditionFailed: some cannot be judged, and the owner fails closed.
        """
        failed = []
        for _, expression in conditions:
            try:
                if evaluation.evaluate(expression) is not True:
                    return False
            except cel.EvaluationError as err:
                failed.append(str(err))
        if failed and not fails_open:
            raise ConditionFailed(failed[0] if len(failed) == 1 else f"[{', '.join(failed)}]")
        return not failed

    def _decide(self, user: User, question: authorization.Question) -> tuple[bool, str]:
        if question.service_account is not None:
            namespace, name = question.service_account
            groups = (*claims.groups(namespace), ALL_AUTHENTICATED)
            user = User(f"system:serviceaccount:{namespace}:{name}", tuple(dict.fromkeys(groups)))
        info = RequestInfo(
            is_resource_request=not question.path,
            path=question.path,
            verb=question.verb,
            prefix="apis" if question.group else "api",
            group=question.group,
            version="*",
            namespace=question.namespace,
            resource=question.resource,
            subresource=question.subresource,
            name=question.name,
            label_selector=question.label_selector,
            field_selector=question.field_selector,
        )
        decision = self._context.authorizer.authorize(user, info)
        return decision.allowed, decision.reason


def _shown(namespace: Object | None) -> Object | None:
    """Return what expressions may see of a namespace."""
    if namespace is None:
        return None
    metadata = namespace.get("metadata") or {}
    found: Object = {"metadata": {key: value for key, value in metadata.items() if key in _NAMESPACE_METADATA}}
    if metadata.get("uid"):
        found["metadata"]["UID"] = metadata["uid"]
    found["spec"] = {"finalizers": (namespace.get("spec") or {}).get("finalizers") or []}
    status = namespace.get("status") or {}
    found["status"] = {"phase": status.get("phase") or "", "conditions": status.get("conditions") or []}
    return found
