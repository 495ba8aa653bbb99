"""Whose token is this, and who am I: TokenReview and SelfSubjectReview.

Upstream counterpart: pkg/registry/authentication/{tokenreview,selfsubjectreview} (v1.37).
"""

from typing import Any

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver.authn.authenticator import Authenticator
from knarr.apiserver.authn.errors import InvalidToken

Object = dict[str, Any]


async def review(authenticator: Authenticator, resource: str, obj: Object, user: User) -> Object:
    """Answer a review.

    Args:
        authenticator: Knows tokens.
        resource: "tokenreviews" or "selfsubjectreviews".
        obj: The review; it is changed.
        user: Who asks.

    Returns:
        The review with its status.

    Raises:
        BadRequest: There is no token to review.
    """
    if resource == "selfsubjectreviews":
        obj["status"] = {"userInfo": to_info(user)}
        return obj
    spec = obj.get("spec") or {}
    token = spec.get("token") or ""
    if not token:
        raise errors.BadRequest("token is required for TokenReview in authentication")
    try:
        found = await authenticator.tokens.authenticate(token, tuple(spec.get("audiences") or ()))
    except InvalidToken as error:
        obj["status"] = {"user": {}, "error": error.reason}
    else:
        obj["status"] = {"authenticated": True, "user": to_info(found.user), "audiences": list(found.audiences)}
    return obj


def to_info(user: User) -> Object:
    """Return a user as a UserInfo, empty fields left out."""
    info: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {key: value for key, value in info.items() if value}
