"""Who makes a request, by the first kind of credentials that it carries.

Upstream counterpart: k8s.io/apiserver/pkg/authentication/request/union and pkg/kubeapiserver/authenticator (v1.37).
"""

from collections.abc import Iterable
from typing import Protocol

from knarr.api import errors
from knarr.api.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, User
from knarr.kit.http.messages import Request

NOBODY = User(ANONYMOUS, (ALL_UNAUTHENTICATED,))


class RequestMethod(Protocol):
    """One way to tell who makes a request."""

    def authenticate(self, request: Request) -> User | None:
        """Return who it is, or None if the request carries no credentials of this kind.

        Raises:
            Unauthorized: It carries some, and they are wrong.
        """


class Authenticator:
    """Tries each method in turn.

    Args:
        methods: In order; the first that knows the user decides.
        is_anonymous_allowed: Whether a request without credentials is `system:anonymous`.
    """

    def __init__(self, methods: Iterable[RequestMethod], *, is_anonymous_allowed: bool = True) -> None:
        self._methods = tuple(methods)
        self._is_anonymous_allowed = is_anonymous_allowed

    def authenticate(self, request: Request) -> User:
        """Return who makes a request, as a member of `system:authenticated` unless anonymous.

        Raises:
            Unauthorized: The credentials are wrong, or there are none and nobody may be anonymous.
        """
        identity = request.peer.identity
        if isinstance(identity, User):
            return identity
        refused: errors.Unauthorized | None = None
        for method in self._methods:
            try:
                user = method.authenticate(request)
            except errors.Unauthorized as error:
                refused = error
                continue
            if user is not None:
                return with_group(user, ALL_AUTHENTICATED)
        if refused is not None:
            raise refused
        if not self._is_anonymous_allowed:
            raise errors.Unauthorized
        return NOBODY


def with_group(user: User, group: str) -> User:
    """Return the user as a member of `group` too."""
    if group in user.groups or user.name == ANONYMOUS:
        return user
    return User(user.name, (*user.groups, group), user.uid, user.extra)
