"""Admission policies with their bindings, compiled; read when they are first needed and again after one has changed.

Source: k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_source.go (v1.37).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from knarr.api.policies import expressions
from knarr.api.policies.expressions import Compiler, Expression
from knarr.apiserver.registry import Registry

Object = dict[str, Any]
Body = TypeVar("Body")


@dataclass(frozen=True, slots=True)
class Policy(Generic[Body]):
    """One policy.

    Attributes:
        name: Its name.
        spec: Its spec.
        bindings: Those that refer to it.
        conditions: Its match conditions.
        variables: Its variables.
        body: What it does: validations, or mutations.
    """

    name: str
    spec: Mapping[str, Any]
    bindings: tuple[Object, ...]
    conditions: tuple[tuple[str, Expression], ...]
    variables: dict[str, Expression]
    body: Body

    @property
    def fails_open(self) -> bool:
        """Whether a request goes on if the policy cannot be judged."""
        return self.spec.get("failurePolicy") == "Ignore"


class Source(Generic[Body]):
    """The policies of one kind that have bindings.

    Args:
        registry: Has the objects.
        plural: "validatingadmissionpolicies" or "mutatingadmissionpolicies"; with "policybindings" at its end, that of the bindings.
        compile_body: Compiles what a policy does, given its spec.
    """

    def __init__(
        self, registry: Registry, plural: str, compile_body: Callable[[Mapping[str, Any], Compiler], Body]
    ) -> None:
        group = "admissionregistration.k8s.io"
        self._registry = registry
        self._policies = f"{plural}.{group}"
        self._bindings = f"{plural.removesuffix('policies')}policybindings.{group}"
        self._compile_body = compile_body
        self._compiled: dict[tuple[str, str, int], tuple[Any, ...]] = {}
        self._found: tuple[Policy[Body], ...] | None = None
        registry.subscribe(self._policies, self._on_change)
        registry.subscribe(self._bindings, self._on_change)

    def policies(self) -> tuple[Policy[Body], ...]:
        """Return all policies that are bound, by name."""
        if self._found is None:
            bindings: dict[str, list[Object]] = {}
            for binding in self._registry.list(self._bindings):
                bindings.setdefault((binding.get("spec") or {}).get("policyName") or "", []).append(binding)
            objects = [one for one in self._registry.list(self._policies) if one["metadata"]["name"] in bindings]
            kept = {_key(one): self._compile(one) for one in objects}
            self._compiled = kept
            self._found = tuple(
                Policy(one["metadata"]["name"], one["spec"], tuple(bindings[one["metadata"]["name"]]), *kept[_key(one)])
                for one in objects
            )
        return self._found

    def _compile(self, policy: Object) -> tuple[Any, ...]:
        known = self._compiled.get(_key(policy))
        if known is not None:
            return known
        spec = policy["spec"]
        compiler = compiler_of(spec)
        conditions = tuple(expressions.compile_conditions(spec.get("matchConditions") or (), compiler))
        return conditions, compiler.variables, self._compile_body(spec, compiler)

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._found = None


def compiler_of(spec: Mapping[str, Any], **types: Any) -> Compiler:
    """Return a compiler that knows the variables of a policy."""
    compiler = Compiler(has_params=spec.get("paramKind") is not None, **types)
    for variable in spec.get("variables") or ():
        compiler.add_variable(variable.get("name") or "", variable.get("expression") or "")
    return compiler


def _key(policy: Object) -> tuple[str, str, int]:
    metadata = policy["metadata"]
    return metadata["name"], metadata.get("uid") or "", int(metadata.get("generation") or 0)
