"""Acting as somebody else: the Impersonate-* headers.

There are narrow ways and a wide one, tried in this order: as the node that a service account's pod runs on, as any node, as a
service account, as any other user; and, as ever, with the verb "impersonate" for whatever is asked. A narrow way needs two
permissions: to impersonate whom ("impersonate:MODE") and to do this very thing meanwhile ("impersonate-on:MODE:VERB").

Upstream counterpart: k8s.io/apiserver/pkg/endpoints/filters/impersonation (v1.37), KEP-5284.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from urllib.parse import unquote

from knarr.api import errors, names
from knarr.api.user import ALL_AUTHENTICATED, ALL_UNAUTHENTICATED, ANONYMOUS, MASTERS, User
from knarr.apiserver.authn import claims
from knarr.apiserver.authz.authorizer import Authorizer, forbidden
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit.http.messages import Headers, Request

PREFIX = "impersonate-"
_USER, _GROUP, _UID, _EXTRA = f"{PREFIX}user", f"{PREFIX}group", f"{PREFIX}uid", f"{PREFIX}extra-"
_AUTHENTICATION = "authentication.k8s.io"
_NODE, _NODES = "system:node:", "system:nodes"
_NODE_NAME = "authentication.kubernetes.io/node-name"
_KEYS = "authentication.kubernetes.io/associated-node-keys"


@dataclass(frozen=True, slots=True)
class _Mode:
    """A narrow way.

    Attributes:
        name: Stands in the verbs.
        fits: Whether (whom, who) can go this way.
    """

    name: str
    fits: Callable[[User, User], bool]


@dataclass(frozen=True, slots=True)
class Acting:
    """As whom a user acts.

    Attributes:
        user: Perhaps the user itself.
        constraint: The verb of the narrow way that allows it; empty for the wide one and for the user itself.
    """

    user: User
    constraint: str = ""


async def impersonate(user: User, request: Request, authorizer: Authorizer, info: RequestInfo) -> Acting:
    """Return as whom a user acts; the headers are removed from the request.

    Args:
        user: Who asks.
        request: Has the headers.
        authorizer: Decides who may be whom.
        info: What is asked.

    Raises:
        Forbidden: The user may not act as that one.
        BadRequest: The headers name groups, a uid or facts of nobody.
    """
    headers = request.headers
    present = {key for key, _ in headers if key.startswith(PREFIX)}
    wanted = _read(headers) if present else None
    if wanted is None:
        return Acting(user)
    refusal: errors.Forbidden | None = None
    for mode in (*_MODES, None):
        if mode is not None and not mode.fits(wanted, user):
            continue
        try:
            await _check(user, wanted, authorizer, info, mode)
        except errors.Forbidden as err:
            refusal = refusal or err
            continue
        for name in present:
            headers.remove(name)
        return Acting(_complete(wanted, is_narrow=mode is not None), f"impersonate:{mode.name}" if mode else "")
    assert refusal is not None
    raise refusal


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


async def _check(user: User, wanted: User, authorizer: Authorizer, info: RequestInfo, mode: _Mode | None) -> None:
    """Raise Forbidden unless a user may be another in this way; no mode is the wide way."""
    who = user
    if mode is _ASSOCIATED:
        # The same for all pods of an account, wherever they run: that the node is its own has been checked.
        who = User(user.name, user.groups, user.uid, {_KEYS: tuple(sorted(user.extra))})
    if mode is not None:
        await _ask(who, replace(info, verb=f"impersonate-on:{mode.name}:{info.verb}"), authorizer)
    for question in _questions(wanted, mode):
        nonsense = _nonsense(question) if mode is not None else ""
        if nonsense:
            raise forbidden(user, question, nonsense)
        await _ask(who, question, authorizer)


async def _ask(user: User, question: RequestInfo, authorizer: Authorizer) -> None:
    decision = await authorizer.decide(user, question)
    if not decision.allowed:
        raise forbidden(user, question, decision.reason)


def _questions(wanted: User, mode: _Mode | None) -> Iterator[RequestInfo]:
    verb = "impersonate" if mode is None else f"impersonate:{mode.name}"
    core = "" if mode is None else _AUTHENTICATION
    account = claims.split_user_name(wanted.name)
    node = _node(wanted.name) if mode is not None else None
    if account is not None:
        yield _question(verb, core, "serviceaccounts", account[1], namespace=account[0])
    elif node is not None:
        yield _question(verb, core, "nodes", "*" if mode is _ASSOCIATED else node)
    else:
        yield _question(verb, core, "users", wanted.name)
    if wanted.uid:
        yield _question(verb, _AUTHENTICATION, "uids", wanted.uid)
    for group in wanted.groups:
        yield _question(verb, core, "groups", group)
    for key, values in wanted.extra.items():
        for value in values:
            yield _question(verb, _AUTHENTICATION, "userextras", value, subresource=key)


def _nonsense(question: RequestInfo) -> str:
    """Return what the narrow ways never allow, whatever the permissions."""
    if question.resource == "groups":
        if not question.name:
            return "impersonating the empty string group is not allowed"
        if question.name == MASTERS:
            return f"impersonating the {MASTERS} group is not allowed"
    elif question.resource == "userextras":
        if names.domain_prefixed_path(question.subresource):
            return "impersonating an invalid key in extra is not allowed"
        if not question.name:
            return "impersonating the empty string value in extra is not allowed"
    return ""


def _question(
    verb: str, group: str, resource: str, name: str, *, namespace: str = "", subresource: str = ""
) -> RequestInfo:
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb=verb,
        group=group,
        version="v1",
        namespace=namespace,
        resource=resource,
        subresource=subresource,
        name=name,
    )


def _complete(wanted: User, *, is_narrow: bool) -> User:
    groups = wanted.groups
    account = claims.split_user_name(wanted.name)
    if not groups and account is not None:
        groups = claims.groups(account[0])
    elif is_narrow and _node(wanted.name) is not None:
        groups = (_NODES,)
    if wanted.name == ANONYMOUS:
        if ALL_UNAUTHENTICATED not in groups:
            groups = (*groups, ALL_UNAUTHENTICATED)
    elif ALL_AUTHENTICATED not in groups and ALL_UNAUTHENTICATED not in groups:
        groups = (*groups, ALL_AUTHENTICATED)
    return User(wanted.name, groups, wanted.uid, wanted.extra)


def _node(name: str) -> str | None:
    """Return the node that a user name is of, if it is of one."""
    node = name.removeprefix(_NODE)
    return node if name.startswith(_NODE) and not names.dns_subdomain(node) else None


def _is_only_named(wanted: User) -> bool:
    return not (wanted.uid or wanted.groups or wanted.extra)


def _is_own_node(wanted: User, user: User) -> bool:
    node = _node(wanted.name)
    is_account = claims.split_user_name(user.name) is not None
    return node is not None and _is_only_named(wanted) and is_account and user.extra.get(_NODE_NAME) == (node,)


_ASSOCIATED = _Mode("associated-node", _is_own_node)
_MODES = (
    _ASSOCIATED,
    _Mode("arbitrary-node", lambda wanted, _: _is_only_named(wanted) and _node(wanted.name) is not None),
    _Mode(
        "serviceaccount",
        lambda wanted, _: _is_only_named(wanted) and claims.split_user_name(wanted.name) is not None,
    ),
    _Mode(
        "user-info",
        lambda wanted, _: _node(wanted.name) is None and claims.split_user_name(wanted.name) is None,
    ),
)
