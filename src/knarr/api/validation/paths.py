"""Paths inside volumes and containers, and modes of files."""

from knarr.api.validation.collector import Errors, Object

_BAD_MODE = "must be a number between 0 and 0777 (octal), both inclusive"


def no_backsteps(errors: Errors, value: str, path: str) -> None:
    """Check that no element is ".."."""
    if ".." in value.split("/"):
        errors.invalid(path, value, "must not contain '..'")


def descending(errors: Errors, value: str, path: str) -> None:
    """Check a relative path that stays below where it starts."""
    if value.startswith("/"):
        errors.invalid(path, value, "must be a relative path")
    no_backsteps(errors, value, path)


def local(errors: Errors, value: str, path: str) -> None:
    """Check the path of a file in a volume, where names with two leading dots are reserved."""
    descending(errors, value, path)
    if value.startswith("..") and not value.startswith("../"):
        errors.invalid(path, value, "must not start with '..'")


def mode(errors: Errors, obj: Object, name: str, path: str) -> None:
    """Check a file mode, if the object has one."""
    value = obj.get(name)
    if value is not None and not 0 <= value <= 0o777:
        errors.invalid(f"{path}.{name}", value, _BAD_MODE)
