"""CEL, the expression language of validation rules and admission policies, with Kubernetes' libraries.

Parsing, type checking and evaluation are Google's C++ implementation (cel-expr-python); this package gives it declared types made
from schemas, Kubernetes' functions, JSON values, and estimates of cost. Expressions are checked against the declared types and then
run over plain maps, so that an absent field is an error as in Kubernetes, and not the zero of a protobuf message.

The library is imported when the first expression is compiled: it takes 20 MB. What bounds an evaluation: the library ends one after
10,000 iterations of macros, patterns match in linear time, and `cost` bounds the work of an expression beforehand.

Source: https://kubernetes.io/docs/reference/using-api/cel/; k8s.io/apiserver/pkg/cel (v1.37).
"""

from knarr.lang.cel.declarations import Decl
from knarr.lang.cel.engine import Environment, Program
from knarr.lang.cel.errors import CelError, CompileError, EvaluationError, OutOfBudget

__all__ = ["CelError", "CompileError", "Decl", "Environment", "EvaluationError", "OutOfBudget", "Program"]
