"""API errors: one class a reason. The server raises them, the client raises the same ones from the Status it gets.

Each carries its `Status` object; its message is worded as upstream's, since programs and people match on it.

Source: k8s.io/apimachinery/pkg/api/errors (v1.37).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from knarr.api.field import FieldError, format_errors


class StatusError(Exception):
    """An error with a Kubernetes Status: the root of all API errors.

    Attributes:
        code: The HTTP status code.
        reason: The machine-readable reason, such as "NotFound"; may be empty.
        message: What went wrong, for people.
        details: StatusDetails; may be empty.
    """

    code = 500
    reason = ""

    def __init__(self, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, Any] = dict(details or {})

    def to_status(self) -> dict[str, Any]:
        """Return the Status object as the server sends it."""
        status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _resource_details(group: str, resource: str, name: str) -> dict[str, Any]:
    details = {"name": name, "group": group, "kind": resource}
    return {key: value for key, value in details.items() if value}


def _qualified(group: str, resource: str) -> str:
    return f"{resource}.{group}" if group else resource


class _ResourceError(StatusError):
    """An error about one named object: `<resource>.<group> "<name>" <words>`."""

    words = ""

    def __init__(self, group: str, resource: str, name: str) -> None:
        super().__init__(
            f'{_qualified(group, resource)} "{name}" {self.words}', details=_resource_details(group, resource, name)
        )


class NotFound(_ResourceError):
    """Raised when the named object does not exist."""

    code = 404
    reason = "NotFound"
    words = "not found"


class PathNotFound(StatusError):
    """Raised when no resource is served at the path."""

    code = 404
    reason = "NotFound"

    def __init__(self) -> None:
        super().__init__("the server could not find the requested resource")


class AlreadyExists(_ResourceError):
    """Raised when an object of that name exists already."""

    code = 409
    reason = "AlreadyExists"
    words = "already exists"


class Conflict(StatusError):
    """Raised when the object changed since the caller read it, or a precondition or a field owner forbids the change."""

    code = 409
    reason = "Conflict"

    MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"

    def __init__(self, group: str, resource: str, name: str, why: str = MODIFIED) -> None:
        super().__init__(
            f'Operation cannot be fulfilled on {_qualified(group, resource)} "{name}": {why}',
            details=_resource_details(group, resource, name),
        )


class ApplyConflict(StatusError):
    """Raised when an apply would take fields that other managers own.

    Args:
        message: Names the managers and fields, as upstream words it.
        causes: One StatusCause a field, reason "FieldManagerConflict".
    """

    code = 409
    reason = "Conflict"

    def __init__(self, message: str, causes: Sequence[Mapping[str, str]]) -> None:
        super().__init__(message, details={"causes": [dict(cause) for cause in causes]})


class Invalid(StatusError):
    """Raised when an object fails validation: one cause a field error."""

    code = 422
    reason = "Invalid"

    def __init__(self, group: str, kind: str, name: str, errors: Sequence[FieldError]) -> None:
        qualified = f"{kind}.{group}" if group else kind
        details = _resource_details(group, kind, name)
        details["causes"] = [error.to_cause() for error in errors]
        super().__init__(f'{qualified} "{name}" is invalid: {format_errors(errors)}', details=details)


class Unprocessable(StatusError):
    """Raised when a well-formed patch does not fit the object it is for."""

    code = 422
    reason = "Invalid"

    def __init__(self) -> None:
        super().__init__("the server rejected our request due to an error in our request")

    def to_status(self) -> dict[str, Any]:
        """Return the Status object; its empty details make kubectl print the message."""
        return {**super().to_status(), "details": {}}


class BadRequest(StatusError):
    """Raised when the request itself makes no sense."""

    code = 400
    reason = "BadRequest"


class Unauthorized(StatusError):
    """Raised when the caller's credentials are missing or wrong."""

    code = 401
    reason = "Unauthorized"

    def __init__(self, message: str = "Unauthorized") -> None:
        super().__init__(message)


class Forbidden(StatusError):
    """Raised when the caller may not do this, or admission refuses it."""

    code = 403
    reason = "Forbidden"

    def __init__(self, group: str, resource: str, name: str, why: str) -> None:
        if not resource:
            message = f"forbidden: {why}"
        elif name:
            message = f'{_qualified(group, resource)} "{name}" is forbidden: {why}'
        else:
            message = f"{_qualified(group, resource)} is forbidden: {why}"
        super().__init__(message, details=_resource_details(group, resource, name))


class MethodNotSupported(StatusError):
    """Raised when the resource does not have the verb."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self, group: str, resource: str, verb: str) -> None:
        super().__init__(
            f'{verb} is not supported on resources of kind "{_qualified(group, resource)}"',
            details=_resource_details(group, resource, ""),
        )


class MethodNotAllowed(StatusError):
    """Raised when something is served at the path, but not by this method."""

    code = 405
    reason = "MethodNotAllowed"

    def __init__(self) -> None:
        super().__init__("the server does not allow this method on the requested resource")


class NotAcceptable(StatusError):
    """Raised when no media type that the caller accepts can be made."""

    code = 406
    reason = "NotAcceptable"


class UnsupportedMediaType(StatusError):
    """Raised when the body's media type is not understood."""

    code = 415
    reason = "UnsupportedMediaType"


class RequestEntityTooLarge(StatusError):
    """Raised when a body or object is larger than the limit."""

    code = 413
    reason = "RequestEntityTooLarge"


class Gone(StatusError):
    """Raised when a revision is too old to be read or watched from."""

    code = 410
    reason = "Expired"


class TooManyRequests(StatusError):
    """Raised when the caller should come back later.

    Args:
        retry_after_s: Seconds, also sent as Retry-After; 0 leaves it to the caller.
    """

    code = 429
    reason = "TooManyRequests"

    def __init__(self, message: str, *, retry_after_s: int = 1, details: Mapping[str, Any] | None = None) -> None:
        wait = {"retryAfterSeconds": retry_after_s} if retry_after_s else {}
        super().__init__(message, details={**(details or {}), **wait})


class ServerTimeout(StatusError):
    """Raised when the server could not finish in time; the caller may try again."""

    code = 504
    reason = "Timeout"


class ServiceUnavailable(StatusError):
    """Raised when a part that is needed is not there right now."""

    code = 503
    reason = "ServiceUnavailable"


class InternalError(StatusError):
    """Raised when the server failed through no fault of the caller."""

    code = 500
    reason = "InternalError"

    def __init__(self, why: str) -> None:
        super().__init__(f"Internal error occurred: {why}", details={"causes": [{"message": why}]})


_BY_REASON: dict[str, type[StatusError]] = {
    cls.reason: cls
    for cls in (
        NotFound, AlreadyExists, Conflict, Invalid, BadRequest, Unauthorized, Forbidden, MethodNotSupported, NotAcceptable,
        UnsupportedMediaType, RequestEntityTooLarge, Gone, TooManyRequests, ServerTimeout, ServiceUnavailable, InternalError,
    )
}  # fmt: skip
_BY_CODE: dict[int, type[StatusError]] = {cls.code: cls for cls in _BY_REASON.values() if cls is not AlreadyExists}


def from_status(status: Mapping[str, Any], code: int) -> StatusError:
    """Make the error that a Status describes.

    Args:
        status: The decoded Status; unknown or missing parts are tolerated.
        code: The HTTP status code, used where the Status names none.

    Returns:
        An instance of the class of that reason, else of that code, else a plain StatusError, with the Status's own words.
    """
    reason = str(status.get("reason") or "")
    code = int(status.get("code") or code)
    cls = _BY_REASON.get(reason) or _BY_CODE.get(code) or StatusError
    error = cls.__new__(cls)
    StatusError.__init__(error, str(status.get("message") or f"HTTP {code}"), details=status.get("details") or {})
    error.code, error.reason = code, reason
    return error
