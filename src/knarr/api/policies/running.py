"""Expressions run for one request and one parameter: variables are evaluated when an expression first needs them.

Source: k8s.io/apiserver/pkg/admission/plugin/cel/{condition,composition,activation}.go (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from knarr.api.policies.expressions import Expression
from knarr.lang import cel
from knarr.lang.cel.libraries import authorization
from knarr.lang.cel.values import to_variable


class Evaluation:
    """Values for one request.

    Args:
        bindings: The values of `object`, `request` and so on.
        variables: The policy's own.
        decide: Answers what expressions ask the authorizer.
    """

    def __init__(
        self, bindings: Mapping[str, Any], variables: Mapping[str, Expression], decide: authorization.Decide
    ) -> None:
        self._bindings = dict(bindings)
        self._variables = variables
        self._decide = decide
        self._values: dict[str, Any] = {}
        self._failed: dict[str, str] = {}

    def evaluate(self, one: Expression) -> Any:
        """Return the value of an expression.

        Raises:
            EvaluationError: it has none.
        """
        if one.error or one.program is None:
            raise cel.EvaluationError(one.error)
        if one.mismatch:
            raise cel.EvaluationError(one.mismatch)
        try:
            with authorization.asking(self._decide):
                return self._run(one)
        except cel.OutOfBudget:
            raise
        except cel.EvaluationError as err:
            raise cel.EvaluationError(f"expression '{one.text}' resulted in error: {err}") from err

    def _run(self, one: Expression) -> Any:
        assert one.program is not None
        for name in one.needs:
            self._settle(name)
        try:
            return one.program.evaluate({**self._bindings, "variables": self._values})
        except cel.EvaluationError as err:
            # An expression may well get along without a variable that fails, so that it fails only where it is used.
            for name in one.needs:
                if name in self._failed and str(err) == f"no such key: {name}":
                    why = f'composited variable "{name}" fails to evaluate: {self._failed[name]}'
                    raise cel.EvaluationError(why) from err
            raise

    def _settle(self, name: str) -> None:
        variable = self._variables.get(name)
        if variable is None or name in self._values or name in self._failed:
            return
        if variable.program is None:
            self._failed[name] = variable.error
            return
        try:
            self._values[name] = to_variable(self._run(variable))
        except cel.EvaluationError as err:
            self._failed[name] = str(err)
