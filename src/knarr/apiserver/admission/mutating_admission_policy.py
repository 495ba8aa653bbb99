"""MutatingAdmissionPolicy: changes of an object in CEL, applied as a configuration or as a JSON patch.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/mutating/{dispatcher.go,patch} (v1.37).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api import errors, patch
from knarr.api.managedfields.values import complaints, merge
from knarr.api.patch.errors import Inapplicable
from knarr.api.policies import expressions
from knarr.api.policies.expressions import Compiler, Expression
from knarr.api.policies.running import Evaluation
from knarr.api.schema import Type
from knarr.apiserver.admission.chain import CONNECT, CREATE, UPDATE, AdmissionRequest, Context, Plugin
from knarr.apiserver.admission.conditions import ConditionFailed, Conditions
from knarr.apiserver.admission.matching import Match, Matcher, is_exempt, kind_of
from knarr.apiserver.admission.policies_invocations import Invocation, meet, namespace_for
from knarr.apiserver.admission.policies_source import Source
from knarr.apiserver.admission.versions import Memory, Versions, copied, replace
from knarr.lang import cel

Object = dict[str, Any]

NAME = "MutatingAdmissionPolicy"
_JSON_PATCH = "JSONPatch"


class Refused(Exception):
    """Raised when a mutation cannot be made: the failure policy decides; the message says why."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """One change.

    Attributes:
        expression: Makes the configuration or the patch.
        is_patch: Whether it is a JSON patch.
    """

    expression: Expression
    is_patch: bool


Body = tuple[Mutation, ...]


def compile_body(spec: Mapping[str, Any], compiler: Compiler) -> Body:
    """Compile the mutations of a policy."""
    found = []
    for one in spec.get("mutations") or ():
        is_patch = one.get("patchType") == _JSON_PATCH
        text = (one.get("jsonPatch" if is_patch else "applyConfiguration") or {}).get("expression") or ""
        wanted = expressions.PATCHES if is_patch else expressions.OBJECT
        found.append(Mutation(compiler.compile(text, wanted), is_patch))
    return tuple(found)


def mutated(mutation: Mutation, evaluation: Evaluation, obj: Object, shape: Type | None) -> Object:
    """Return what a mutation makes of an object, which is not changed.

    Raises:
        Refused: it cannot be made.
    """
    try:
        made = evaluation.evaluate(mutation.expression)
    except cel.EvaluationError as err:
        raise Refused(str(err)) from err
    if mutation.is_patch:
        return _patched(obj, made)
    if not isinstance(made, dict):
        raise Refused("unsupported return type from ApplyConfiguration expression")
    if shape is None:
        raise Refused("error applying patch: the kind has no schema")
    atomics = list(find_atomics(made, shape))
    if atomics:
        words = f"may not mutate atomic arrays, maps or structs: {', '.join(atomics)}"
        raise Refused(f"error applying patch: invalid ApplyConfiguration: {words}")
    applied = {**made, "kind": obj.get("kind"), "apiVersion": obj.get("apiVersion")}
    wrong = complaints(applied, shape)
    if wrong:
        raise Refused(f"error applying patch: failed to convert patch object to typed object: {'; '.join(wrong)}")
    merged: Object = merge(copied(obj), applied, shape)
    return merged


def _patched(obj: Object, operations: Any) -> Object:
    if not isinstance(operations, list):
        raise Refused("type mismatch: JSONPatchType.expression should evaluate to array")
    try:
        found = patch.json_patch(obj, operations)
    except errors.StatusError as err:
        why = str(err.__cause__) if isinstance(err.__cause__, Inapplicable) else err.message
        if why.startswith("testing value"):
            return obj  # a test that fails leaves the object alone
        raise Refused(f"JSON Patch: {why}") from err
    if not isinstance(found, dict):
        raise Refused("JSON Patch: the patched document is not an object")
    return found


def find_atomics(value: Any, shape: Type, path: str = "") -> Iterator[str]:
    """Yield where a configuration sets part of what can only be set as a whole: what it leaves out would be lost."""
    if isinstance(value, dict) and shape.kind in ("object", "map"):
        if shape.map_type == "atomic":
            yield path
        for key, item in value.items():
            inner = shape.fields.get(key) or shape.element
            if inner is not None:
                yield from find_atomics(item, inner, f"{path}.{key}")
    elif isinstance(value, list) and shape.kind == "list":
        if shape.is_atomic:
            yield path
        for index, item in enumerate(value):
            if shape.element is not None:
                yield from find_atomics(item, shape.element, f"{path}[{index}]")


class _Plugin:
    def __init__(self, context: Context) -> None:
        self._context = context
        self._source: Source[Body] = Source(context.registry, "mutatingadmissionpolicies", compile_body)
        self._matcher = Matcher(context.registry)
        self._conditions = Conditions(context)

    async def admit(self, request: AdmissionRequest) -> None:
        policies = self._source.policies()
        if not policies or is_exempt(request):
            return
        memory: Memory = request.memory.setdefault(NAME, Memory())
        memory.begin(request)
        failures: list[tuple[str, str]] = []
        # Whom a request meets is decided before anything is changed.
        for one in [found async for found in meet(self._context, self._matcher, request, policies)]:
            found = [one.error] if one.error else await self._invoke(request, one, memory)
            if not one.policy.fails_open:
                failures += [(_told(one, why), "Forbidden" if one.error else "Invalid") for why in found]
        memory.end(request)
        if failures:
            raise _refuse(request, failures)

    async def _invoke(self, request: AdmissionRequest, one: Invocation[Body], memory: Memory) -> list[str]:
        """Make the changes of one policy and binding with each parameter; return what went wrong."""
        assert one.match is not None
        failures = []
        namespace = namespace_for(self._matcher, request)
        for params in one.params:
            metadata = (params or {}).get("metadata") or {}
            key = "/".join((one.policy.name, one.binding, metadata.get("namespace") or "", metadata.get("name") or ""))
            evaluation = await self._evaluation(request, one, params, namespace)
            try:
                if not Conditions.are_met(evaluation, one.policy.conditions, fails_open=one.policy.fails_open):
                    continue
            except ConditionFailed as err:
                failures.append(str(err))
                continue
            if request.round and key not in memory.due:
                continue
            is_changed = False
            for mutation in one.policy.body:
                try:
                    is_changed |= await self._mutate(request, one, mutation, params, namespace)
                except Refused as err:
                    failures.append(str(err))
            if is_changed:
                memory.note_change()
                request.call_again = not request.round
            if one.policy.spec.get("reinvocationPolicy") == "IfNeeded":
                memory.called.add(key)
        return failures

    async def _mutate(
        self,
        request: AdmissionRequest,
        one: Invocation[Body],
        mutation: Mutation,
        params: Object | None,
        namespace: Object | None,
    ) -> bool:
        """Make one change; return whether the object is another now."""
        assert one.match is not None
        before = await Versions(request, self._context.shapes).get(one.match, is_old=False)
        if before is None:
            return False
        evaluation = await self._evaluation(request, one, params, namespace)
        made = mutated(mutation, evaluation, before, self._context.shapes.type_of(one.match.kind))
        settled = self._settle(made, one.match)
        if settled == before:
            return False
        own = kind_of(self._context.registry.scheme, request.resource, request.subresource)
        replace(request, await self._context.shapes.convert(settled, own))
        return True

    def _settle(self, made: Object, match: Match) -> Object:
        kind = {"kind": match.kind.kind, "apiVersion": match.kind.api_version}
        return self._context.shapes.settle(copied({**made, **kind}), match.kind)

    async def _evaluation(
        self, request: AdmissionRequest, one: Invocation[Body], params: Object | None, namespace: Object | None
    ) -> Evaluation:
        assert one.match is not None
        versions = Versions(request, self._context.shapes)
        variables = one.policy.variables
        return await self._conditions.evaluation(
            request, one.match, versions, params=params, namespace=namespace, variables=variables
        )


def _told(one: Invocation[Body], why: str) -> str:
    if not one.binding:
        return f'policy "{one.policy.name}" denied request: {why}'
    return f"policy '{one.policy.name}' with binding '{one.binding}' denied request: {why}"


def _refuse(request: AdmissionRequest, failures: list[tuple[str, str]]) -> errors.StatusError:
    error = request.forbidden("admission request denied by policy")
    error.message, error.reason = failures[0]
    error.details["causes"] = [{"message": why} for why, _ in failures]
    return error


def build(context: Context) -> Plugin:
    """Make MutatingAdmissionPolicy."""
    return Plugin(NAME, frozenset({CREATE, UPDATE, CONNECT}), admit=_Plugin(context).admit)
