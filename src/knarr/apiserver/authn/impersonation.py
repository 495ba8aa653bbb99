"""Acting as somebody else: the Impersonate-* headers.

Upstream counterpart: k8s.io/apiserver/pkg/endpoints/filters/impersonation.go (v1.37).
"""

from urllib.parse import unquote

from knarr.api import errors
from knarr.api.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, User
from knarr.apiserver.authn import claims
from knarr.apiserver.authz.authorizer import Authorizer, forbidden
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit.http.messages import Headers, Request

PREFIX = "impersonate-"
_USER, _GROUP, _UID, _EXTRA = f"{PREFIX}user", f"{PREFIX}group", f"{PREFIX}uid", f"{PREFIX}extra-"
_AUTHENTICATION = "authentication.k8s.io"


async def impersonate(user: User, request: Request, authorizer: Authorizer) -> User:
    """Return as whom a user acts; the headers are removed from the request.

    Raises:
        Forbidden: The user may not act as that one.
        BadRequest: The headers name groups, a uid or facts of nobody.
    """
    headers = request.headers
    names = {key for key, _ in headers if key.startswith(PREFIX)}
    if not names:
        return user
    wanted = _read(headers)
    if wanted is None:
        return user
    for check in _checks(wanted):
        decision = await authorizer.decide(user, check)
        if not decision.allowed:
            raise forbidden(user, check, decision.reason)
    for name in names:
        headers.remove(name)
    return _complete(wanted)


def _read(headers: Headers) -> User | None:
    name, uid = headers.get(_USER) or "", headers.get(_UID) or ""
    groups = tuple(headers.get_all(_GROUP))
    extra: dict[str, list[str]] = {}
    for key, value in headers:
        if key.startswith(_EXTRA):
            extra.setdefault(unquote(key.removeprefix(_EXTRA)).lower(), []).append(value)
    if not name:
        if groups or uid or extra:
            shown = [*(f"group {group}" for group in groups), *([f"uid {uid}"] if uid else []), *extra]
            raise errors.BadRequest(f"requested [{', '.join(shown)}] without impersonating a user")
        return None
    return User(name, groups, uid, {key: tuple(values) for key, values in extra.items()})


def _checks(wanted: User) -> list[RequestInfo]:
    account = claims.split_user_name(wanted.name)
    if account is not None:
        checks = [_check("", "serviceaccounts", account[1], namespace=account[0])]
    else:
        checks = [_check("", "users", wanted.name)]
    checks += [_check("", "groups", group) for group in wanted.groups]
    for key, values in wanted.extra.items():
        checks += [_check(_AUTHENTICATION, "userextras", value, subresource=key) for value in values]
    if wanted.uid:
        checks.append(_check(_AUTHENTICATION, "uids", wanted.uid))
    return checks


def _check(group: str, resource: str, name: str, *, namespace: str = "", subresource: str = "") -> RequestInfo:
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb="impersonate",
        group=group,
        version="v1",
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
    )


def _complete(wanted: User) -> User:
    groups = wanted.groups
    account = claims.split_user_name(wanted.name)
    if not groups and account is not None:
        groups = claims.groups(account[0])
    if wanted.name == ANONYMOUS:
        if ALL_UNAUTHENTICATED not in groups:
            groups = (*groups, ALL_UNAUTHENTICATED)
    elif ALL_AUTHENTICATED not in groups and ALL_UNAUTHENTICATED not in groups:
        groups = (*groups, ALL_AUTHENTICATED)
    return User(wanted.name, groups, wanted.uid, wanted.extra)
