"""What service account tokens claim, and whether the claims still hold.

Source: k8s.io/kubernetes/pkg/serviceaccount/claims.go (v1.37): the names of claims, the checks and their words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from knarr.api.user import User
from knarr.apiserver.authn.certificates import CREDENTIAL_ID
from knarr.apiserver.authn.errors import InvalidToken

PRIVATE = "kubernetes.io"
ACCOUNT_PREFIX = "system:serviceaccount:"
ACCOUNTS_GROUP = "system:serviceaccounts"
GRACE = timedelta(seconds=60)
"""How long tokens outlive the deletion of what they are bound to."""
LEEWAY_S = 10
_POD_NAME = "authentication.kubernetes.io/pod-name"
_POD_UID = "authentication.kubernetes.io/pod-uid"
_NODE_NAME = "authentication.kubernetes.io/node-name"
_NODE_UID = "authentication.kubernetes.io/node-uid"

Object = dict[str, Any]


class Reader(Protocol):
    """Reads decoded objects: the part of the registry that is needed here."""

    def get(self, resource: str, namespace: str, name: str, /) -> Object | None:
        """Return an object, or None if there is none."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is bound to."""

    name: str
    uid: str

    def to_claim(self) -> dict[str, str]:
        """Return it as a claim holds it."""
        return {"name": self.name, "uid": self.uid}


@dataclass(frozen=True, slots=True)
class Bound:
    """The private claims of a token.

    Attributes:
        namespace: The account's.
        account: The service account.
        pod: The pod that the token lives and dies with.
        secret: The secret that the token lives and dies with.
        node: The node, or the node of the pod.
    """

    namespace: str
    account: Reference
    pod: Reference | None = None
    secret: Reference | None = None
    node: Reference | None = None

    def to_claim(self) -> dict[str, Any]:
        """Return the claims by their names, absent ones left out."""
        named = {"node": self.node, "pod": self.pod, "secret": self.secret}
        return {
            "namespace": self.namespace,
            **{name: one.to_claim() for name, one in named.items() if one},
            "serviceaccount": self.account.to_claim(),
        }


def user_name(namespace: str, name: str) -> str:
    """Return the user name of a service account."""
    return f"{ACCOUNT_PREFIX}{namespace}:{name}"


def groups(namespace: str) -> tuple[str, str]:
    """Return the groups of the service accounts of a namespace."""
    return (ACCOUNTS_GROUP, f"{ACCOUNTS_GROUP}:{namespace}")


def split_user_name(name: str) -> tuple[str, str] | None:
    """Return the namespace and name of the service account that a user name means, or None."""
    if not name.startswith(ACCOUNT_PREFIX):
        return None
    namespace, colon, account = name.removeprefix(ACCOUNT_PREFIX).partition(":")
    return (namespace, account) if namespace and account and colon and ":" not in account else None


def read(claims: Mapping[str, Any]) -> Bound:
    """Return the private claims of a token.

    Raises:
        InvalidToken: They are missing or of the wrong form.
    """
    private = claims.get(PRIVATE)
    if not isinstance(private, Mapping):
        raise InvalidToken("service account token lacks its private claims")
    account = _reference(private, "serviceaccount")
    namespace = private.get("namespace")
    if account is None or not isinstance(namespace, str):
        raise InvalidToken("service account token names no service account")
    pod, secret, node = (_reference(private, name) for name in ("pod", "secret", "node"))
    return Bound(namespace, account, pod, secret, node)


def check_time(claims: Mapping[str, Any], now: datetime) -> None:
    """Check that a token is valid at `now`.

    Raises:
        InvalidToken: It has expired, or is not valid yet.
    """
    seconds = now.timestamp()
    ends, starts = claims.get("exp"), claims.get("nbf", claims.get("iat", 0))
    if not isinstance(ends, int | float) or seconds > ends:
        raise InvalidToken("service account token has expired")
    if not isinstance(starts, int | float) or seconds + LEEWAY_S < starts:
        raise InvalidToken("service account token is not valid yet")


def audiences_of(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return for whom a token is meant."""
    audience = claims.get("aud")
    if isinstance(audience, str):
        return (audience,)
    return tuple(str(one) for one in audience) if isinstance(audience, list) else ()


def common_audiences(claims: Mapping[str, Any], wanted: Sequence[str]) -> tuple[str, ...]:
    """Return those of `wanted` for whom a token is meant.

    Raises:
        InvalidToken: There are none.
    """
    meant = audiences_of(claims)
    common = tuple(one for one in wanted if one in meant)
    if not common:
        shown = [" ".join(f'"{one}"' for one in listed) for listed in (meant, wanted)]
        raise InvalidToken(f"token audiences [{shown[0]}] is invalid for the target audiences [{shown[1]}]")
    return common


def check_bound(bound: Bound, registry: Reader, now: datetime) -> None:
    """Check that what a token is bound to is still there, the same, and not long deleted.

    Raises:
        InvalidToken: It is not.
    """
    namespace = bound.namespace
    _check(registry, now, "serviceaccounts", "service account", namespace, bound.account)
    if bound.secret is not None:
        _check(registry, now, "secrets", "secret", namespace, bound.secret)
    if bound.pod is not None:
        _check(registry, now, "pods", "pod", namespace, bound.pod)
    elif bound.node is not None:
        _check(registry, now, "nodes", "node", "", bound.node)


def to_user(claims: Mapping[str, Any], bound: Bound) -> User:
    """Return the user that a token names."""
    extra: dict[str, tuple[str, ...]] = {}
    if claims.get("jti"):
        extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
    if bound.node is not None:
        extra[_NODE_NAME] = (bound.node.name,)
        if bound.node.uid:
            extra[_NODE_UID] = (bound.node.uid,)
    if bound.pod is not None:
        extra[_POD_NAME], extra[_POD_UID] = (bound.pod.name,), (bound.pod.uid,)
    name = user_name(bound.namespace, bound.account.name)
    return User(name, groups(bound.namespace), bound.account.uid, extra)


def _reference(private: Mapping[str, Any], kind: str) -> Reference | None:
    value = private.get(kind)
    if value is None:
        return None
    name, uid = (value.get("name"), value.get("uid", "")) if isinstance(value, Mapping) else (None, None)
    if not isinstance(name, str) or not isinstance(uid, str):
        raise InvalidToken(f"service account token has a malformed {kind} claim")
    return Reference(name, uid)


def _check(registry: Reader, now: datetime, resource: str, words: str, namespace: str, claimed: Reference) -> None:
    found = registry.get(resource, namespace, claimed.name)
    if found is None:
        raise InvalidToken(f'{resource} "{claimed.name}" not found')
    metadata = found["metadata"]
    deleted = metadata.get("deletionTimestamp")
    if deleted and datetime.fromisoformat(deleted) < now - GRACE:
        raise InvalidToken("service account token has been invalidated")
    if metadata.get("uid", "") != claimed.uid:
        raise InvalidToken(f"{words} UID ({metadata.get('uid', '')}) does not match claim ({claimed.uid})")
