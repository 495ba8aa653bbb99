"""The expressions of a policy, compiled: each with what it must be, and the variables that it needs.

Source: k8s.io/apiserver/pkg/admission/plugin/cel/{compile,composition}.go; plugin/policy/{validating,mutating}/plugin.go (v1.37).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api.policies import environments, literals
from knarr.lang import cel
from knarr.lang.cel.declarations import DYN, Decl

Object = Mapping[str, Any]

BOOL, STRING = ("bool",), ("string",)
STRING_OR_NULL = ("string", "null")
ANY = ()
OBJECT, PATCHES = ("map", "Object"), ("list", "list(JSONPatch)")
_SHOWN = {"null": "null_type"}
_PLAIN = ("bool", "int", "double", "string")


@dataclass(frozen=True, slots=True)
class Expression:
    """One expression.

    Attributes:
        text: As it was written.
        program: What runs; None if it does not compile.
        needs: The policy's variables that it uses itself.
        error: Why it does not compile; empty if it does.
        mismatch: What is wrong with its literals, which shows when it runs.
    """

    text: str
    program: cel.Program | None = None
    needs: tuple[str, ...] = ()
    error: str = ""
    mismatch: str = ""


class Compiler:
    """Compiles the expressions of one policy, variables first and in their order.

    Args:
        has_params: Whether the policy has parameters.
        obj: The type of `object`, for checks by type.
        params: The type of `params`, likewise.
        has_variables: Whether there are variables; conditions of webhooks have none.
    """

    def __init__(self, *, has_params: bool, obj: Decl = DYN, params: Decl = DYN, has_variables: bool = True) -> None:
        self._has_params = has_params
        self._object, self._params = obj, params
        self._types: dict[str, Decl] | None = {} if has_variables else None
        self._environments: dict[bool, cel.Environment] = {}
        self.variables: dict[str, Expression] = {}

    def add_variable(self, name: str, text: str) -> Expression:
        """Compile a variable; later expressions see it, even if it does not compile."""
        found = self.variables[name] = self.compile(text, ANY)
        assert self._types is not None
        result = found.program.result if found.program is not None else "dyn"
        self._types[name] = Decl(result) if result in _PLAIN else DYN  # type: ignore[arg-type]
        self._environments.clear()
        return found

    def compile(self, text: str, wanted: tuple[str, ...], *, has_authorizer: bool = True) -> Expression:
        """Compile an expression.

        Args:
            text: The expression.
            wanted: What it must evaluate to; ANY for anything.
            has_authorizer: Whether it may ask the authorizer.
        """
        mismatch = ""
        source = text
        try:
            if wanted in (OBJECT, PATCHES):
                rewritten = literals.rewrite(text)
                source, mismatch = rewritten.text, rewritten.mismatch
            program = self._environment(has_authorizer=has_authorizer).compile(source)
        except cel.CompileError as err:
            return Expression(text, error=f"compilation failed: {err}")
        complaint = _complain(program.result, wanted)
        if complaint:
            return Expression(text, error=complaint)
        return Expression(text, program, _needs(program), mismatch=mismatch)

    def _environment(self, *, has_authorizer: bool) -> cel.Environment:
        found = self._environments.get(has_authorizer)
        if found is None:
            found = self._environments[has_authorizer] = environments.declare(
                has_params=self._has_params,
                has_authorizer=has_authorizer,
                variables=self._types,
                obj=self._object,
                params=self._params,
            )
        return found


def compile_conditions(conditions: Iterable[Object], compiler: Compiler) -> list[tuple[str, Expression]]:
    """Compile match conditions; returns the name of each with its expression."""
    return [(one.get("name") or "", compiler.compile(one.get("expression") or "", BOOL)) for one in conditions]


def _complain(result: str, wanted: tuple[str, ...]) -> str:
    if wanted == ANY:
        return ""
    if wanted in (OBJECT, PATCHES):
        return "" if result.startswith((wanted[0], "dyn")) else f"must evaluate to {wanted[1]} but got {result}"
    if result in wanted:
        return ""
    shown = [_SHOWN.get(one, one) for one in wanted]
    if len(shown) == 1:
        return f"must evaluate to {shown[0]} but got {result}"
    return f"must evaluate to one of [{' '.join(shown)}] but got {result}"


def _needs(program: cel.Program) -> tuple[str, ...]:
    names = {
        node.name
        for node in program.tree.root.walk()
        if node.kind == "select" and node.operands[0].kind == "ident" and node.operands[0].name == "variables"
    }
    return tuple(sorted(names))
