"""ValidatingAdmissionPolicy: rules in CEL that a request must fulfil; bindings say where, with which parameters, and what follows.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/validating/{dispatcher,validator}.go (v1.37).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.api import errors
from knarr.api.policies import expressions
from knarr.api.policies.expressions import Compiler, Expression
from knarr.api.policies.running import Evaluation
from knarr.apiserver.admission.chain import CONNECT, CREATE, DELETE, UPDATE, AdmissionRequest, Context, Plugin
from knarr.apiserver.admission.conditions import ConditionFailed, Conditions
from knarr.apiserver.admission.matching import Matcher, is_exempt
from knarr.apiserver.admission.policies_invocations import Invocation, meet, namespace_for
from knarr.apiserver.admission.policies_source import Policy, Source
from knarr.apiserver.admission.versions import Versions
from knarr.lang import cel

Object = dict[str, Any]

NAME = "ValidatingAdmissionPolicy"
MESSAGE_BYTES = 5 * 1024
ANNOTATION_CHARS = 10 * 1024
_FAILURE_KEY = "validation.policy.admission.k8s.io/validation_failure"
_CODES = {"Unauthorized": 401, "Forbidden": 403, "RequestEntityTooLarge": 413, "Invalid": 422}


@dataclass(frozen=True, slots=True)
class Validation:
    """One rule: its expression, what to say if it is false, and the reason of the Status."""

    expression: Expression
    message: str
    said: Expression | None
    reason: str


@dataclass(frozen=True, slots=True)
class Body:
    """What a policy demands, and what it notes in the audit log."""

    validations: tuple[Validation, ...]
    annotations: tuple[tuple[str, Expression], ...]


@dataclass(frozen=True, slots=True)
class Denial:
    """A rule that is not fulfilled, or cannot be judged.

    Attributes:
        index: Which rule.
        message: What is wrong.
        reason: The reason of the Status; empty means Invalid.
        is_certain: Whether it denies whatever the binding's actions are.
    """

    index: int
    message: str
    reason: str = ""
    is_certain: bool = False


def compile_body(spec: Mapping[str, Any], compiler: Compiler) -> Body:
    """Compile the validations and audit annotations of a policy."""
    validations = []
    for one in spec.get("validations") or ():
        said = one.get("messageExpression")
        validations.append(
            Validation(
                compiler.compile(one.get("expression") or "", expressions.BOOL),
                (one.get("message") or "").strip(),
                compiler.compile(said, expressions.STRING, has_authorizer=False) if said else None,
                one.get("reason") or "",
            )
        )
    annotations = [
        (one.get("key") or "", compiler.compile(one.get("valueExpression") or "", expressions.STRING_OR_NULL))
        for one in spec.get("auditAnnotations") or ()
    ]
    return Body(tuple(validations), tuple(annotations))


def judge(policy: Policy[Body], evaluation: Evaluation, notes: dict[str, list[str]]) -> Iterator[Denial]:
    """Yield what a policy has against a request.

    Args:
        policy: The policy.
        evaluation: Gives values for the request and one parameter.
        notes: Receives the audit annotations.
    """
    try:
        if not Conditions.are_met(evaluation, policy.conditions, fails_open=policy.fails_open):
            return
    except ConditionFailed as err:
        yield Denial(0, str(err))
        return
    for index, one in enumerate(policy.body.validations):
        try:
            if evaluation.evaluate(one.expression) is True:
                continue
        except cel.EvaluationError as err:
            if not policy.fails_open:
                yield Denial(index, str(err))
            continue
        yield Denial(index, _say(one, evaluation), one.reason or "Invalid")
    for key, expression in policy.body.annotations:
        try:
            value = str(evaluation.evaluate(expression) or "").strip()[:ANNOTATION_CHARS]
        except cel.EvaluationError as err:
            if not policy.fails_open:
                yield Denial(0, str(err), is_certain=True)
            continue
        if value and value not in notes.setdefault(key, []):
            notes[key].append(value)


def _say(one: Validation, evaluation: Evaluation) -> str:
    if one.said is not None:
        try:
            said = str(evaluation.evaluate(one.said) or "").strip()
        except cel.EvaluationError:
            said = ""
        if said and "\n" not in said and len(said.encode(errors="replace")) <= MESSAGE_BYTES:
            return said
    return one.message or f"failed expression: {one.expression.text.strip()}"


class _Plugin:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._source: Source[Body] = Source(context.registry, "validatingadmissionpolicies", compile_body)
        self._matcher = Matcher(context.registry)
        self._conditions = Conditions(context)

    async def validate(self, request: AdmissionRequest) -> None:
        policies = self._source.policies()
        if not policies or is_exempt(request):
            return
        refusals: list[tuple[str, str]] = []
        notes: dict[str, dict[str, list[str]]] = {}
        versions = Versions(request, self._context.shapes)
        async for one in meet(self._context, self._matcher, request, policies):
            if one.error:
                if not one.policy.fails_open:
                    refusals.append((_told(one, one.error), ""))
                continue
            refusals += await self._judge(request, versions, one, notes.setdefault(one.policy.name, {}))
        for name, found in notes.items():
            for key, values in found.items():
                request.annotations[f"{name}/{key}"] = ", ".join(values)
        if refusals:
            raise _refuse(request, *refusals[0])

    async def _judge(
        self, request: AdmissionRequest, versions: Versions, one: Invocation[Body], notes: dict[str, list[str]]
    ) -> list[tuple[str, str]]:
        """Judge a request by one policy and binding; return the messages and reasons of what denies it."""
        assert one.match is not None
        refusals = []
        namespace = namespace_for(self._matcher, request)
        for params in one.params:
            evaluation = await self._conditions.evaluation(
                request, one.match, versions, params=params, namespace=namespace, variables=one.policy.variables
            )
            for denial in judge(one.policy, evaluation, notes):
                if denial.is_certain or "Deny" in one.actions:
                    refusals.append((_told(one, denial.message), denial.reason))
                if denial.is_certain:
                    continue
                if "Warn" in one.actions:
                    request.warnings.append(
                        f"Validation failed for ValidatingAdmissionPolicy '{one.policy.name}' with binding "
                        f"'{one.binding}': {denial.message}"
                    )
                if "Audit" in one.actions:
                    request.annotations[_FAILURE_KEY] = _note(one, denial)
        return refusals


def _told(one: Invocation[Body], why: str) -> str:
    bound = f" with binding '{one.binding}'" if one.binding else ""
    return f"ValidatingAdmissionPolicy '{one.policy.name}'{bound} denied request: {why}"


def _refuse(request: AdmissionRequest, message: str, reason: str) -> errors.StatusError:
    error = request.forbidden(message)
    error.reason = reason or "Invalid"
    error.code = _CODES.get(error.reason, 422)
    error.details["causes"] = [*error.details.get("causes", ()), {"message": message}]
    return error


def _note(one: Invocation[Body], denial: Denial) -> str:
    facts = {
        "message": denial.message,
        "policy": one.policy.name,
        "binding": one.binding,
        "expressionIndex": denial.index,
        "validationActions": list(one.actions),
    }
    return msgspec.json.encode([facts]).decode()


def build(context: Context) -> Plugin:
    """Make ValidatingAdmissionPolicy."""
    return Plugin(NAME, frozenset({CREATE, UPDATE, DELETE, CONNECT}), validate=_Plugin(context).validate)
