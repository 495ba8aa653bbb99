"""Field paths and the errors found at them, worded as upstream's.

Source: k8s.io/apimachinery/pkg/util/validation/field (v1.37): the error types, their strings and their order of words.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any


class ErrorType(Enum):
    """What is wrong with a field; the value is the `reason` of the cause in a Status."""

    NOT_FOUND = "FieldValueNotFound"
    REQUIRED = "FieldValueRequired"
    DUPLICATE = "FieldValueDuplicate"
    INVALID = "FieldValueInvalid"
    NOT_SUPPORTED = "FieldValueNotSupported"
    FORBIDDEN = "FieldValueForbidden"
    TOO_LONG = "FieldValueTooLong"
    TOO_MANY = "FieldValueTooMany"
    INTERNAL = "InternalError"
    TYPE_INVALID = "FieldValueTypeInvalid"


_WORDS = {
    ErrorType.NOT_FOUND: "Not found",
    ErrorType.REQUIRED: "Required value",
    ErrorType.DUPLICATE: "Duplicate value",
    ErrorType.INVALID: "Invalid value",
    ErrorType.NOT_SUPPORTED: "Unsupported value",
    ErrorType.FORBIDDEN: "Forbidden",
    ErrorType.TOO_LONG: "Too long",
    ErrorType.TOO_MANY: "Too many",
    ErrorType.INTERNAL: "Internal error",
    ErrorType.TYPE_INVALID: "Invalid value",
}
_WITHOUT_VALUE = {ErrorType.REQUIRED, ErrorType.FORBIDDEN, ErrorType.TOO_LONG, ErrorType.INTERNAL}

OMITTED = object()
"""A value that an error does not show."""


@dataclass(frozen=True, slots=True)
class Path:
    """Where in an object: `Path("spec").child("containers").index(0).child("name")` prints `spec.containers[0].name`."""

    text: str = ""

    def child(self, *names: str) -> "Path":
        """Return the path of a field below this one."""
        return Path(".".join(([self.text] if self.text else []) + list(names)))

    def index(self, index: int) -> "Path":
        """Return the path of a list element."""
        return Path(f"{self.text}[{index}]")

    def key(self, key: str) -> "Path":
        """Return the path of a map element."""
        return Path(f"{self.text}[{key}]")

    def __str__(self) -> str:
        return self.text or "<nil>"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with one field.

    Attributes:
        type: What is wrong.
        path: Where.
        value: The offending value; not shown by the types that name none.
        detail: What was expected, in upstream's words.
    """

    type: ErrorType
    path: Path
    value: Any = None
    detail: str = ""

    @property
    def body(self) -> str:
        """The message without the path, as in a Status cause: `Invalid value: "x": must be …`."""
        words = _WORDS[self.type]
        text = (
            words if self.type in _WITHOUT_VALUE or self.value is OMITTED else f"{words}: {_format_value(self.value)}"
        )
        return f"{text}: {self.detail}" if self.detail else text

    def __str__(self) -> str:
        return f"{self.path}: {self.body}"

    def to_cause(self) -> dict[str, str]:
        """Return the StatusCause of this error."""
        return {"reason": self.type.value, "message": self.body, "field": str(self.path)}


def _format_value(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str | bool | dict | list):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return str(value)


def required(path: Path, detail: str = "") -> FieldError:
    """Make a "Required value" error."""
    return FieldError(ErrorType.REQUIRED, path, "", detail)


def invalid(path: Path, value: Any, detail: str) -> FieldError:
    """Make an "Invalid value" error."""
    return FieldError(ErrorType.INVALID, path, value, detail)


def not_supported(path: Path, value: Any, supported: Iterable[str]) -> FieldError:
    """Make an "Unsupported value" error that lists the supported ones, sorted."""
    listed = ", ".join(json.dumps(name) for name in sorted(supported))
    return FieldError(ErrorType.NOT_SUPPORTED, path, value, f"supported values: {listed}" if listed else "")


def forbidden(path: Path, detail: str) -> FieldError:
    """Make a "Forbidden" error."""
    return FieldError(ErrorType.FORBIDDEN, path, "", detail)


def duplicate(path: Path, value: Any) -> FieldError:
    """Make a "Duplicate value" error."""
    return FieldError(ErrorType.DUPLICATE, path, value)


def not_found(path: Path, value: Any) -> FieldError:
    """Make a "Not found" error."""
    return FieldError(ErrorType.NOT_FOUND, path, value)


def too_long(path: Path, limit_bytes: int) -> FieldError:
    """Make a "Too long" error."""
    return FieldError(ErrorType.TOO_LONG, path, "", f"may not be more than {limit_bytes} bytes")


def too_many(path: Path, actual: int, limit: int) -> FieldError:
    """Make a "Too many" error."""
    return FieldError(ErrorType.TOO_MANY, path, actual, f"must have at most {limit} items")


def type_invalid(path: Path, value: Any, detail: str) -> FieldError:
    """Make an error for a value of the wrong type."""
    return FieldError(ErrorType.TYPE_INVALID, path, value, detail)


def format_errors(errors: Sequence[FieldError]) -> str:
    """Join errors as an aggregate prints: one alone, several distinct ones in brackets."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
