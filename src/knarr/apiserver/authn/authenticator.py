"""Who makes a request, by the first kind of credentials that it carries.

Upstream counterpart: k8s.io/apiserver/pkg/authentication/request/union and pkg/kubeapiserver/authenticator (v1.37).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from knarr.api import errors
from knarr.api.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, User
from knarr.apiserver.authn import impersonation
from knarr.apiserver.authn.errors import InvalidToken
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit.http.messages import Request

NOBODY = User(ANONYMOUS, (ALL_UNAUTHENTICATED,))


@dataclass(frozen=True, slots=True)
class Identified:
    """Whom a token names.

    Attributes:
        user: Without `system:authenticated`.
        audiences: Those asked for that the token is meant for.
    """

    user: User
    audiences: tuple[str, ...]


class RequestMethod(Protocol):
    """One way to tell who makes a request."""

    def authenticate(self, request: Request) -> User | None:
        """Return who it is, or None if the request carries no credentials of this kind.

        Raises:
            InvalidToken: It carries some, and they are wrong.
        """


class TokenMethod(Protocol):
    """One kind of bearer token."""

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return whom a token names, or None if it is of another kind.

        Raises:
            InvalidToken: It is of this kind, and wrong.
        """


class RemoteTokenMethod(Protocol):
    """One kind of bearer token about which others are asked."""

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """As `TokenMethod`, after a while."""


class Tokens:
    """Tries each kind of token in turn, those that need nobody else first.

    Args:
        methods: In order.
        audiences: Of the API server itself; what is asked for where nobody says otherwise.
        remote: In order.
    """

    def __init__(
        self, methods: Iterable[TokenMethod], audiences: tuple[str, ...], remote: Iterable[RemoteTokenMethod] = ()
    ) -> None:
        self._methods = tuple(methods)
        self._remote = tuple(remote)
        self.audiences = audiences

    async def authenticate(self, token: str, audiences: tuple[str, ...] = ()) -> Identified:
        """Return whom a token names, as a member of `system:authenticated`.

        Raises:
            InvalidToken: It is of no known kind, or wrong.
        """
        reasons = ["invalid bearer token"]
        for method in self._methods:
            try:
                found = method.authenticate(token, audiences or self.audiences)
            except InvalidToken as error:
                reasons.append(error.reason)
                continue
            if found is not None:
                return Identified(with_group(found.user, ALL_AUTHENTICATED), found.audiences)
        for remote in self._remote:
            try:
                found = await remote.authenticate(token, audiences or self.audiences)
            except InvalidToken as error:
                reasons.append(error.reason)
                continue
            if found is not None:
                return Identified(with_group(found.user, ALL_AUTHENTICATED), found.audiences)
        raise InvalidToken(reasons[0] if len(reasons) == 1 else f"[{', '.join(reasons)}]")


class Carried(Protocol):
    """The token that a request carries."""

    async def authenticate(self, request: Request) -> User | None:
        """As `RequestMethod`, after a while."""


class Authenticator:
    """Tries each method in turn.

    Args:
        methods: In order; the first that knows the user decides.
        tokens: Reviews bearer tokens.
        carried: Authenticates those that requests carry; the last method.
        is_anonymous_allowed: Whether a request without credentials is `system:anonymous`.
        anonymous_paths: The only paths at which it is; empty means all.
    """

    def __init__(
        self,
        methods: Iterable[RequestMethod],
        tokens: Tokens,
        carried: Carried,
        *,
        is_anonymous_allowed: bool = True,
        anonymous_paths: tuple[str, ...] = (),
    ) -> None:
        self._methods = tuple(methods)
        self.tokens = tokens
        self._carried = carried
        self._is_anonymous_allowed = is_anonymous_allowed
        self._anonymous_paths = anonymous_paths

    async def authenticate(self, request: Request) -> User:
        """Return who makes a request, as a member of `system:authenticated` unless anonymous.

        Raises:
            Unauthorized: The credentials are wrong, or there are none and nobody may be anonymous.
        """
        identity = request.peer.identity
        if isinstance(identity, User):
            return identity
        refused: InvalidToken | None = None
        for method in self._methods:
            try:
                user = method.authenticate(request)
            except InvalidToken as error:
                refused = error
                continue
            if user is not None:
                return with_group(user, ALL_AUTHENTICATED)
        try:
            user = await self._carried.authenticate(request)
        except InvalidToken as error:
            raise errors.Unauthorized from error
        if user is not None:
            return with_group(user, ALL_AUTHENTICATED)
        if refused is not None:
            raise errors.Unauthorized from refused
        if not self._is_anonymous_allowed or (self._anonymous_paths and request.path not in self._anonymous_paths):
            raise errors.Unauthorized
        return NOBODY

    async def impersonate(
        self, user: User, request: Request, authorizer: Authorizer, info: RequestInfo
    ) -> impersonation.Acting:
        """Return as whom a user acts: the one in the Impersonate-* headers, which are removed, or the user itself.

        Raises:
            Forbidden: The user may not act as that one.
            BadRequest: The headers name groups, a uid or facts of nobody.
        """
        return await impersonation.impersonate(user, request, authorizer, info)


def with_group(user: User, group: str) -> User:
    """Return the user as a member of `group` too; the anonymous one stays as it is."""
    if group in user.groups or user.name == ANONYMOUS:
        return user
    return User(user.name, (*user.groups, group), user.uid, user.extra)
