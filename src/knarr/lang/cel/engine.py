"""Environments, in which expressions are compiled, and programs, which are run.

An expression is checked in an environment of declared types, then planned in one in which every variable is dynamic. Programs are
kept: the same expression in the same environment is compiled once.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from knarr.lang.cel import descriptors, errors, functions, syntax
from knarr.lang.cel.declarations import Decl
from knarr.lang.cel.errors import CompileError, EvaluationError, OutOfBudget
from knarr.lang.cel.values import Convert, converter

MAX_EXPRESSION_CHARS = 100_000
_CONFIG = "name: kubernetes\nextensions:\n  - name: two-var-comprehensions\n"


class Program:
    """A compiled expression.

    Attributes:
        tree: Its checked syntax tree.
        result: The name of its type, such as "bool".
    """

    def __init__(self, planned: Any, tree: syntax.Checked, result: str, converts: Mapping[str, Convert]) -> None:
        self._planned = planned
        self._converts = converts
        self.tree = tree
        self.result = result

    def names(self) -> set[str]:
        """Return the variables that the expression uses."""
        return self.tree.names

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Return the value for these variables, as JSON.

        Raises:
            EvaluationError: there is none.
            OutOfBudget: it would take too long.
        """
        bound = {
            name: convert(variables[name]) if (convert := self._converts.get(name)) is not None else variables[name]
            for name in self.tree.names
            if name in variables
        }
        try:
            found = self._planned.eval(data=bound)
            if found.type().name() == "ERROR":
                raise errors.to_evaluation_error(str(found.value()))
            return found.plain_value()
        except RuntimeError as err:
            raise errors.to_evaluation_error(str(err)) from err


class Environment:
    """Variables of declared types, and the functions of Kubernetes.

    Args:
        variables: Their types by name.
    """

    def __init__(self, variables: Mapping[str, Decl]) -> None:
        self.variables = dict(variables)
        self._programs: dict[str, Program | CompileError] = {}
        self._converts = {name: convert for name, decl in variables.items() if (convert := converter(decl)) is not None}
        self._checker: Any = None

    def compile(self, expression: str) -> Program:
        """Compile an expression.

        Raises:
            CompileError: it is no CEL, or does not fit the declared types.
        """
        found = self._programs.get(expression)
        if found is None:
            try:
                found = self._compile(expression)
            except CompileError as err:
                found = err
            self._programs[expression] = found
        if isinstance(found, CompileError):
            raise found
        return found

    def _compile(self, expression: str) -> Program:
        if len(expression) > MAX_EXPRESSION_CHARS:
            raise CompileError(
                f"expression code point size exceeds limit: size: {len(expression)}, limit {MAX_EXPRESSION_CHARS}"
            )
        if self._checker is None:
            self._checker = _checker(self.variables)
        try:
            checked = self._checker.compile(expression)
            encoded = checked.serialize()
            planned = _runner().deserialize(encoded)
        except RuntimeError as err:
            raise errors.to_compile_error(err) from err
        return Program(planned, syntax.decode(encoded), checked.return_type().name().lower(), self._converts)


def _checker(variables: Mapping[str, Decl]) -> Any:
    cel = _library()
    pool = descriptors.new_pool()
    messages = descriptors.Messages(cel, pool)
    types = {name: messages.type_of(decl) for name, decl in variables.items()}
    messages.close()
    return cel.NewEnv(
        pool,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables=types,
        extensions=[*_extensions(), cel.CelExtension("kubernetes", functions.declarations(cel))],
    )


@cache
def _runner() -> Any:
    cel, pool = _library(), descriptors.new_pool()
    return cel.NewEnv(
        pool,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        extensions=[*_extensions(), cel.CelExtension("kubernetes", functions.implementations(cel, pool))],
    )


@cache
def _library() -> Any:
    # Imported here because it takes 20 MB, which only those who use CEL are to spend.
    from cel_expr_python import cel

    return cel


def _extensions() -> list[Any]:
    from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings

    return [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath(), ext_encoders.ExtEncoders()]


__all__ = ["CompileError", "Environment", "EvaluationError", "OutOfBudget", "Program"]
