"""What can be wrong with an expression, in the words of cel-go."""

import re

_FRAME = re.compile(r"^(?!ERROR)[A-Z_]+: |\s*\[[A-Z_]+\]\s*$")
_FIELD = re.compile(r"undefined field '([^']*)' not found in struct '[^']*'")
_KEY = re.compile(r'Key not found in map : "?(.*?)"?$')
_INDEX = re.compile(r"Index error: index=(-?\d+) size=\d+")
_PLACE = re.compile(r"<input>:(\d+):")
_BUDGET = "Iteration budget exceeded"


class CelError(Exception):
    """The root of the errors of this package."""


class CompileError(CelError):
    """Raised when an expression is no CEL, or does not fit the declared types."""


class EvaluationError(CelError):
    """Raised when an expression has no value, such as for an absent field."""


class OutOfBudget(EvaluationError):
    """Raised when an evaluation does more than it may."""


def to_compile_error(err: Exception, *, lines: int = 0) -> CompileError:
    """Make the error of an expression that cannot be compiled, with `lines` of ours before it."""
    text = _FIELD.sub(r"undefined field '\1'", _bare(str(err)))
    return CompileError(_PLACE.sub(lambda match: f"<input>:{int(match[1]) - lines}:", text))


def to_evaluation_error(text: str) -> EvaluationError:
    """Make the error of an expression that cannot be evaluated."""
    if _BUDGET in text:
        return OutOfBudget("call cost exceeds limit")
    bare = _bare(text)
    key = _KEY.search(bare)
    if key is not None:
        return EvaluationError(f"no such key: {key[1]}")
    index = _INDEX.search(bare)
    if index is not None:
        return EvaluationError(f"index out of bounds: {index[1]}")
    if bare.startswith("No matching overloads"):
        return EvaluationError("no such overload")
    return EvaluationError(bare)


def _bare(text: str) -> str:
    return _FRAME.sub("", text).strip()
