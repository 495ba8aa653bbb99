"""Who may ask a node: the API server with its client certificate, others with a token that the API server vouches for.

A certificate of the cluster's authority names user and groups; a bearer token is sent to TokenReview. Members of system:masters may do
everything; what others may do SubjectAccessReview says, about the `nodes` subresource that fits the path. Answers are kept for a while.

Source: pkg/kubelet/server/auth.go, k8s.io/apiserver/pkg/authentication/authenticatorfactory (v1.37).
"""

import hashlib
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID
from lightkube.models import authentication_v1, authorization_v1

from knarr.api.errors import StatusError
from knarr.api.user import ALL_AUTHENTICATED, MASTERS, User
from knarr.client import Client
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Request

TOKEN_TTL_S = 120.0
ALLOWED_TTL_S = 300.0
DENIED_TTL_S = 30.0
CACHE_LIMIT = 1000
_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SUBRESOURCES = (("/stats", "stats"), ("/metrics", "metrics"), ("/logs", "log"))
_FINE = {"/healthz": "healthz", "/configz": "configz", "/pods": "pods", "/runningpods": "pods"}


class Refused(Exception):
    """Raised when a request is not answered.

    Attributes:
        status: 401 or 403.
        message: Why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Guard:
    """Decides about requests.

    Args:
        client: Reviews tokens and access.
        node_name: This node.
        clock: Times what is kept.
    """

    def __init__(self, client: Client, node_name: str, clock: Clock) -> None:
        self._client = client
        self._node_name = node_name
        self._clock = clock
        self._users: dict[str, tuple[float, User | None]] = {}
        self._access: dict[tuple[str, tuple[str, ...], str, str], tuple[float, bool]] = {}

    async def check(self, request: Request) -> User:
        """Return who asks, if it may.

        Raises:
            Refused: It is nobody known, or may not.
        """
        user = user_of(request.peer.certificate) if request.peer.certificate else await self._by_token(request)
        if user is None:
            raise Refused(401, "Unauthorized")
        if MASTERS in user.groups:
            return user
        verb = _VERBS.get(request.method, "")
        for subresource in subresources(request.path):
            if await self._may(user, verb, subresource):
                return user
        what = subresources(request.path)[-1]
        raise Refused(403, f"Forbidden (user={user.name}, verb={verb}, resource=nodes, subresource(s)=[{what}])\n")

    async def _by_token(self, request: Request) -> User | None:
        kind, _, token = (request.headers.get("authorization") or "").partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            return None
        token = token.strip()
        key = hashlib.sha256(token.encode()).hexdigest()
        now_s = self._clock.monotonic_s()
        kept = self._users.get(key)
        if kept is not None and kept[0] > now_s:
            return kept[1]
        user = await self._review(token)
        _trim(self._users)
        self._users[key] = (now_s + TOKEN_TTL_S, user)
        return user

    async def _review(self, token: str) -> User | None:
        review = authentication_v1.TokenReview(spec=authentication_v1.TokenReviewSpec(token=token))
        try:
            answer = await self._client.create(review)
        except StatusError as err:
            raise Refused(401, "Unauthorized") from err
        status = answer.status
        if status is None or not status.authenticated or status.user is None:
            return None
        return User(status.user.username or "", tuple(status.user.groups or ()), status.user.uid or "")

    async def _may(self, user: User, verb: str, subresource: str) -> bool:
        key = (user.name, user.groups, verb, subresource)
        now_s = self._clock.monotonic_s()
        kept = self._access.get(key)
        if kept is not None and kept[0] > now_s:
            return kept[1]
        allowed = await self._review_access(user, verb, subresource)
        _trim(self._access)
        self._access[key] = (now_s + (ALLOWED_TTL_S if allowed else DENIED_TTL_S), allowed)
        return allowed

    async def _review_access(self, user: User, verb: str, subresource: str) -> bool:
        review = authorization_v1.SubjectAccessReview(
            spec=authorization_v1.SubjectAccessReviewSpec(
                user=user.name,
                groups=[*user.groups],
                uid=user.uid or None,
                resourceAttributes=authorization_v1.ResourceAttributes(
                    verb=verb, resource="nodes", subresource=subresource, name=self._node_name, version="v1"
                ),
            )
        )
        try:
            answer = await self._client.create(review)
        except StatusError as err:
            raise Refused(403, f"Authorization error (user={user.name}, verb={verb}, resource=nodes)\n") from err
        return answer.status is not None and answer.status.allowed


def user_of(certificate: bytes) -> User | None:
    """Return whom a client certificate (DER) names: its common name, and its organizations as groups."""
    subject = x509.load_der_x509_certificate(certificate).subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if not names:
        return None
    groups = [str(entry.value) for entry in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    return User(str(names[0].value), (*groups, ALL_AUTHENTICATED))


def subresources(path: str) -> list[str]:
    """Return the subresources of `nodes` that a path stands for; permission for any of them is enough."""
    found = [name for prefix, name in _SUBRESOURCES if path == prefix or path.startswith(f"{prefix}/")]
    if found:
        return found
    fine = _FINE.get(path.rstrip("/"))
    return [fine, "proxy"] if fine else ["proxy"]


def _trim(cache: dict[Any, Any]) -> None:
    while len(cache) >= CACHE_LIMIT:
        del cache[next(iter(cache))]
