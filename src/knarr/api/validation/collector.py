"""Where validation functions leave what they find.

Paths are plain strings while validating ("spec.containers[0].name"), so that a valid object costs hardly more than the
looks at its fields; they become `Path` values only in an error. Supported values are printed in the order given, because
upstream prints some lists sorted and others not.

Source: k8s.io/apimachinery/pkg/util/validation/field (v1.37).
"""

import json
from collections.abc import Iterable
from typing import Any

from knarr.api.field import ErrorType, FieldError, Path

Object = dict[str, Any]

IMMUTABLE = "field is immutable"
NOT_NEGATIVE = "must be greater than or equal to 0"
POSITIVE = "must be greater than zero"


class Errors:
    """A list of field errors under way."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    def required(self, path: str, detail: str = "") -> None:
        """Record a missing value."""
        self.found.append(FieldError(ErrorType.REQUIRED, Path(path), "", detail))

    def invalid(self, path: str, value: Any, detail: str) -> None:
        """Record a wrong value."""
        self.found.append(FieldError(ErrorType.INVALID, Path(path), value, detail))

    def unsupported(self, path: str, value: Any, supported: Iterable[str]) -> None:
        """Record a value outside an enumeration."""
        listed = ", ".join(json.dumps(one) for one in supported)
        self.found.append(FieldError(ErrorType.NOT_SUPPORTED, Path(path), value, f"supported values: {listed}"))

    def forbidden(self, path: str, detail: str) -> None:
        """Record a value that may not be there."""
        self.found.append(FieldError(ErrorType.FORBIDDEN, Path(path), "", detail))

    def duplicate(self, path: str, value: Any, detail: str = "") -> None:
        """Record a value that is there twice."""
        self.found.append(FieldError(ErrorType.DUPLICATE, Path(path), value, detail))

    def not_found(self, path: str, value: Any, detail: str = "") -> None:
        """Record a reference to something that is not there."""
        self.found.append(FieldError(ErrorType.NOT_FOUND, Path(path), value, detail))

    def too_long(self, path: str, limit_bytes: int) -> None:
        """Record a value of too many bytes."""
        self.found.append(FieldError(ErrorType.TOO_LONG, Path(path), "", f"may not be more than {limit_bytes} bytes"))

    def too_many(self, path: str, actual: int, limit: int) -> None:
        """Record a list of too many items."""
        words = f"must have at most {limit} item{'s' if limit != 1 else ''}"
        self.found.append(FieldError(ErrorType.TOO_MANY, Path(path), actual, words))

    def all_invalid(self, path: str, value: Any, complaints: Iterable[str]) -> None:
        """Record each of the complaints that a rule of `api.names` has about a value."""
        for complaint in complaints:
            self.invalid(path, value, complaint)

    def not_negative(self, path: str, value: Any) -> None:
        """Check that a number, if there is one, is 0 or more."""
        if value is not None and value < 0:
            self.invalid(path, value, NOT_NEGATIVE)

    def not_negatives(self, obj: Object, path: str, *names: str) -> None:
        """Check several number fields of one object."""
        for name in names:
            value = obj.get(name)
            if value is not None and value < 0:
                self.invalid(f"{path}.{name}", value, NOT_NEGATIVE)

    def one_of(self, path: str, value: Any, supported: tuple[str, ...], *, required: bool = True) -> None:
        """Check an enumeration; an empty value is missing if `required`, else wrong like any other."""
        if value in supported:
            return
        if not value and required:
            self.required(path)
        else:
            self.unsupported(path, "" if value is None else value, supported)

    def distinct(self) -> list[FieldError]:
        """Return what was found, each thing once, in the order found."""
        seen: set[str] = set()
        kept = []
        for error in self.found:
            text = f"{error.type.value} {error}"
            if text not in seen:
                seen.add(text)
                kept.append(error)
        return kept
