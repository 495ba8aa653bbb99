"""Which FlowSchema a request belongs to.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol/rule.go (v1.37).
"""

from collections.abc import Iterable
from typing import Any

from knarr.api.user import User
from knarr.apiserver.authn import claims
from knarr.apiserver.requestinfo import RequestInfo

Object = dict[str, Any]

_ALL = "*"


def find(schemas: Iterable[Object], user: User, info: RequestInfo) -> Object | None:
    """Return the first schema that matches, in the order given."""
    return next((schema for schema in schemas if is_match(schema, user, info)), None)


def in_order(schemas: Iterable[Object]) -> list[Object]:
    """Return schemas by precedence, and by name where that is equal."""
    return sorted(schemas, key=lambda one: (one["spec"].get("matchingPrecedence", 0), one["metadata"]["name"]))


def is_match(schema: Object, user: User, info: RequestInfo) -> bool:
    """Return whether one of a schema's rules is about this user and this request."""
    return any(_is_about(rule, user, info) for rule in schema["spec"].get("rules") or ())


def _is_about(rule: Object, user: User, info: RequestInfo) -> bool:
    if not any(_is_subject(subject, user) for subject in rule.get("subjects") or ()):
        return False
    if info.is_resource_request:
        return any(_is_resource(one, info) for one in rule.get("resourceRules") or ())
    return any(_is_path(one, info) for one in rule.get("nonResourceRules") or ())


def _is_subject(subject: Object, user: User) -> bool:
    match subject.get("kind"):
        case "User":
            return (subject.get("user") or {}).get("name") in (_ALL, user.name)
        case "Group":
            name = (subject.get("group") or {}).get("name")
            return name == _ALL or name in user.groups
        case "ServiceAccount":
            account = claims.split_user_name(user.name)
            wanted = subject.get("serviceAccount") or {}
            if account is None or account[0] != wanted.get("namespace"):
                return False
            return wanted.get("name") in (_ALL, account[1])
    return False


def _is_resource(rule: Object, info: RequestInfo) -> bool:
    resource = f"{info.resource}/{info.subresource}" if info.subresource else info.resource
    if not (
        _has(rule.get("verbs"), info.verb)
        and _has(rule.get("resources"), resource)
        and _has(rule.get("apiGroups"), info.group)
    ):
        return False
    return _has(rule.get("namespaces"), info.namespace) if info.namespace else bool(rule.get("clusterScope"))


def _is_path(rule: Object, info: RequestInfo) -> bool:
    if not _has(rule.get("verbs"), info.verb):
        return False
    for path in rule.get("nonResourceURLs") or ():
        if path in (_ALL, info.path) or info.path.startswith(path.removesuffix(_ALL).removesuffix("/") + "/"):
            return True
    return False


def _has(listed: list[str] | None, wanted: str) -> bool:
    return listed is not None and (listed == [_ALL] or wanted in listed)
