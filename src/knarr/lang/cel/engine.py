"""Environments, in which expressions are compiled, and programs, which are run.

An expression is checked in an environment of declared types, then planned in one in which every variable is dynamic. Programs are
kept: the same expression in the same environment is compiled once.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

from knarr.lang.cel import descriptors, errors, functions, syntax
from knarr.lang.cel.declarations import IS_THERE, VALUE, Decl
from knarr.lang.cel.errors import CompileError, EvaluationError, OutOfBudget
from knarr.lang.cel.libraries.function import Opaque
from knarr.lang.cel.values import Convert, converter

MAX_EXPRESSION_CHARS = 100_000
_CONFIG = "name: kubernetes\nextensions:\n  - name: two-var-comprehensions\n"


class Program:
    """A compiled expression.

    Attributes:
        tree: Its checked syntax tree.
        result: The name of its type, such as "bool".
    """

    def __init__(
        self,
        planned: Any,
        tree: syntax.Checked,
        result: str,
        converts: Mapping[str, Convert],
        optional: Iterable[str] = (),
    ) -> None:
        self._planned = planned
        self._converts = converts
        self._optional = tuple(optional)
        self.tree = tree
        self.result = result

    def names(self) -> set[str]:
        """Return the variables that the expression uses."""
        return self.tree.names

    def evaluate(self, variables: Mapping[str, Any]) -> Any:
        """Return the value for these variables, as JSON; an optional variable may be left out.

        Raises:
            EvaluationError: there is none.
            OutOfBudget: it would take too long.
        """
        bound: dict[str, Any] = {}
        for name in self.tree.names:
            if name in variables:
                convert = self._converts.get(name)
                value = variables[name] if convert is None else convert(variables[name])
                bound[f"{name}{VALUE}" if name in self._optional else name] = value
        for name in self._optional:
            bound[f"{name}{IS_THERE}"] = name in variables
            bound.setdefault(f"{name}{VALUE}", None)
        try:
            found = self._planned.eval(data=bound)
            if found.type().name() == "ERROR":
                raise errors.to_evaluation_error(str(found.value()))
            return found.plain_value()
        except RuntimeError as err:
            raise errors.to_evaluation_error(str(err)) from err
        except TypeError as err:
            raise EvaluationError("the result is nothing that JSON has") from err


class Environment:
    """Variables of declared types, and the functions of Kubernetes.

    Args:
        variables: Their types by name.
    """

    def __init__(self, variables: Mapping[str, Decl]) -> None:
        self.variables = dict(variables)
        self._programs: dict[str, Program | CompileError] = {}
        self._converts = {name: convert for name, decl in variables.items() if (convert := converter(decl)) is not None}
        self._converts |= {name: to_message for name, decl in variables.items() if decl.kind == "opaque"}
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
        optional = [
            name for name, decl in self.variables.items() if decl.is_optional and re.search(rf"\b{name}\b", expression)
        ]
        try:
            checked = self._checker.compile(_with_optionals(expression, optional))
            encoded = checked.serialize()
            planned = _runner()[0].deserialize(encoded)
        except RuntimeError as err:
            raise errors.to_compile_error(err, lines=len(optional)) from err
        tree = syntax.decode(encoded)
        for name in optional:
            tree.names.difference_update((f"{name}{IS_THERE}", f"{name}{VALUE}"))
            tree.names.add(name)
        return Program(planned, tree, checked.return_type().name().lower(), self._converts, optional)


def _with_optionals(expression: str, names: list[str]) -> str:
    """Return an expression that makes optional variables of plain ones: the library takes no optional values from outside."""
    for name in names:
        made = f"{name}{IS_THERE} ? optional.of({name}{VALUE}) : optional.none()"
        expression = f"[{made}].map({name}, (\n{expression}\n))[0]"
    return expression


def _checker(variables: Mapping[str, Decl]) -> Any:
    cel = _library()
    pool = descriptors.new_pool()
    messages = descriptors.Messages(cel, pool)
    types: dict[str, Any] = {}
    for name, decl in variables.items():
        if decl.is_optional:
            types[f"{name}{IS_THERE}"] = cel.Type.BOOL
        types[f"{name}{VALUE}" if decl.is_optional else name] = messages.type_of(decl)
    messages.close()
    return cel.NewEnv(
        pool,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        variables=types,
        extensions=[*_extensions(), cel.CelExtension("kubernetes", functions.declarations(cel))],
    )


@cache
def _runner() -> tuple[Any, dict[str, Any]]:
    """Return the environment in which programs run, and the messages of opaque values."""
    cel, pool = _library(), descriptors.new_pool()
    classes = functions.classes_of(pool)
    environment = cel.NewEnv(
        pool,
        config=cel.NewEnvConfigFromYaml(_CONFIG),
        extensions=[*_extensions(), cel.CelExtension("kubernetes", functions.implementations(cel, classes))],
    )
    return environment, classes


def to_message(value: Any) -> Any:
    """Return an opaque value as the message by which the library knows it; needed for those within maps and lists."""
    return _runner()[1][value.type](text=value.text) if isinstance(value, Opaque) else value


@cache
def _library() -> Any:
    # Imported here because it takes 20 MB, which only those who use CEL are to spend.
    from cel_expr_python import cel

    return cel


def _extensions() -> list[Any]:
    from cel_expr_python.ext import ext_encoders, ext_math, ext_optional, ext_strings

    return [ext_strings.ExtStrings(), ext_optional.ExtOptional(), ext_math.ExtMath(), ext_encoders.ExtEncoders()]


__all__ = ["CompileError", "Environment", "EvaluationError", "OutOfBudget", "Program"]
