"""Another server that is asked what users may do, by SubjectAccessReview.

Upstream counterpart: k8s.io/apiserver/plugin/pkg/authorizer/webhook (v1.37).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.api.user import User
from knarr.apiserver import remote
from knarr.apiserver.authz.authorizer import Decision, Rules
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit import clock as clocks
from knarr.kit.http.errors import HttpError
from knarr.lang import cel

KEPT = 8192
KEPT_BYTES = 10_000
"""Questions that are longer are not remembered: their length is for whoever asks to choose."""

Object = dict[str, Any]


class _Status(msgspec.Struct):
    """SubjectAccessReviewStatus."""

    allowed: bool | None = None
    denied: bool | None = None
    reason: str | None = None


class _Review(msgspec.Struct):
    """SubjectAccessReview."""

    status: _Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to ask.

    Attributes:
        name: Of the webhook, in reasons.
        authorized_s: How long a yes is remembered; 0 not at all.
        unauthorized_s: How long a no is.
        timeout_s: For an answer.
        denies_on_failure: Whether nobody may what cannot be asked; otherwise others decide.
        conditions: Only requests for which all of them hold are asked about.
    """

    name: str = "webhook"
    authorized_s: float = 300.0
    unauthorized_s: float = 30.0
    timeout_s: float = 30.0
    denies_on_failure: bool = False
    conditions: Sequence[cel.Program] = ()


class Webhook:
    """Asks a server, and remembers its answers for a while.

    Args:
        server: Whom to ask.
        settings: How.
        clock: The time.
    """

    def __init__(self, server: remote.Remote, settings: Settings, clock: clocks.Clock) -> None:
        self._server = server
        self._settings = settings
        self._clock = clock
        self._known: OrderedDict[bytes, tuple[float, Decision]] = OrderedDict()

    def authorize(self, user: User, info: RequestInfo) -> Decision:
        """Return what is remembered; if nothing is, the answer is no: the server might forbid it."""
        spec = to_spec(user, info)
        decision = self._without_asking(spec)
        if decision is None:
            decision = self._remembered(_key(spec))
        return decision or Decision(False, f"{self._settings.name}: cannot be asked here", denied=True)

    async def decide(self, user: User, info: RequestInfo) -> Decision:
        """Return what the server says."""
        spec = to_spec(user, info)
        decision = self._without_asking(spec)
        if decision is not None:
            return decision
        key = _key(spec)
        known = self._remembered(key)
        if known is not None:
            return known
        decision, is_answer = await self._ask(spec)
        kept_s = self._settings.authorized_s if decision.allowed else self._settings.unauthorized_s
        if is_answer and kept_s > 0 and len(key) <= KEPT_BYTES:
            self._known[key] = (self._clock.monotonic_s() + kept_s, decision)
            self._known.move_to_end(key)
            if len(self._known) > KEPT:
                self._known.popitem(last=False)
        return decision

    def rules_for(self, user: User, namespace: str) -> Rules:
        """Say that nobody can list what the server would allow."""
        return Rules(incomplete=True, error="webhook authorizer does not support user rule resolution")

    def _without_asking(self, spec: Object) -> Decision | None:
        """Return what is said of a request that the server is not asked about, None if it is."""
        try:
            if not all(program.evaluate({"request": spec}) is True for program in self._settings.conditions):
                return Decision(False)
        except cel.CelError as err:
            return self._failed(str(err))
        return None

    def _remembered(self, key: bytes) -> Decision | None:
        known = self._known.get(key)
        return known[1] if known is not None and known[0] > self._clock.monotonic_s() else None

    async def _ask(self, spec: Object) -> tuple[Decision, bool]:
        review = {
            "kind": "SubjectAccessReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": spec,
            "status": {"allowed": False},
        }
        try:
            response = await self._server.post(
                msgspec.json.encode(review), "application/json", timeout_s=self._settings.timeout_s
            )
            if response.status >= 300:
                return self._failed(f"HTTP {response.status}"), False
            assert isinstance(response.body, bytes)
            status = msgspec.json.decode(response.body, type=_Review).status
        except (HttpError, msgspec.MsgspecError) as err:
            return self._failed(str(err)), False
        if status.allowed and status.denied:
            return self._failed("webhook subject access review returned both allow and deny response"), False
        return Decision(bool(status.allowed), status.reason or "", denied=bool(status.denied)), True

    def _failed(self, why: str) -> Decision:
        return Decision(False, f"{self._settings.name}: {why}", denied=self._settings.denies_on_failure)


def to_spec(user: User, info: RequestInfo) -> Object:
    """Return a request as the spec of a SubjectAccessReview."""
    spec: Object = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if not info.is_resource_request:
        return {**spec, "nonResourceAttributes": {"path": info.path, "verb": info.verb}}
    named = {
        "namespace": info.namespace,
        "verb": info.verb,
        "group": info.group,
        "version": info.version,
        "resource": info.resource,
        "subresource": info.subresource,
        "name": info.name,
    }
    return {**spec, "resourceAttributes": {key: value for key, value in named.items() if value}}


def _key(spec: Object) -> bytes:
    return msgspec.json.encode(spec)
