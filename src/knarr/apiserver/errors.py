"""Errors on their way out: the one table from the store's errors to API errors, and from API errors to responses."""

from typing import Any

import msgspec

from knarr.api import errors
from knarr.kit.http.connection import Limits
from knarr.kit.http.messages import Headers, Response
from knarr.store import errors as store_errors

_CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the "
    "continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with "
    "the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time "
    "the first chunk was returned and now may show up in the list."
)


class ContinueExpired(errors.Gone):
    """Raised when history no longer holds the revision at which a list began.

    Attributes:
        token: With it the list can be gone on with, though inconsistently.
    """

    def __init__(self, token: str) -> None:
        super().__init__(_CONTINUE_EXPIRED)
        self.token = token

    def to_status(self) -> dict[str, Any]:
        """Return the Status with the token in its metadata."""
        status = super().to_status()
        status["metadata"] = {"continue": self.token}
        return status


def too_old(err: store_errors.Compacted) -> errors.Gone:
    """Make the error of a watch or list from a revision that history no longer holds."""
    return errors.Gone(f"too old resource version: {err.requested} ({err.oldest})")


def too_new(err: store_errors.FutureRevision) -> errors.ServerTimeout:
    """Make the error of a revision that has not happened yet."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return errors.ServerTimeout(
        f"Too large resource version: {err.requested}, current: {err.newest}",
        details={"causes": [cause], "retryAfterSeconds": 1},
    )


def from_store(err: store_errors.StoreError) -> errors.StatusError:
    """Translate what the store raised."""
    match err:
        case store_errors.Compacted():
            return too_old(err)
        case store_errors.FutureRevision():
            return too_new(err)
        case store_errors.TooLarge():
            return errors.RequestEntityTooLarge(str(err))
        case store_errors.Uncertain():
            return errors.ServerTimeout(str(err))
        case store_errors.Closed():
            return errors.ServiceUnavailable("apiserver is shutting down")
        case _:
            return errors.ServiceUnavailable(str(err))


def to_response(err: errors.StatusError) -> Response:
    """Answer with an error's Status."""
    headers = [("content-type", "application/json")]
    retry_after_s = err.details.get("retryAfterSeconds")
    if retry_after_s is not None:
        headers.append(("retry-after", str(retry_after_s)))
    return Response(err.code, Headers.from_lower(headers), msgspec.json.encode(err.to_status()) + b"\n")


def too_many(retry_after_s: int) -> Response:
    """Tell a caller to come back later; as upstream does, in plain words and without a Status."""
    fields = [
        ("content-type", "text/plain; charset=utf-8"),
        ("x-content-type-options", "nosniff"),
        ("retry-after", str(retry_after_s)),
    ]
    return Response(429, Headers.from_lower(fields), b"Too many requests, please try again later.\n")


def reject(status: int, why: str) -> Response:
    """Answer what never reached a handler: bad HTTP, too long a body, a handler that failed."""
    match status:
        case 413:
            error: errors.StatusError = errors.RequestEntityTooLarge(
                f"Request entity too large: limit is {Limits().body_bytes}"
            )
        case 400:
            error = errors.BadRequest(why)
        case 500:
            error = errors.InternalError(why)
        case _:
            error = errors.StatusError(why)
            error.code = status
    return to_response(error)
