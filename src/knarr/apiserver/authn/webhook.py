"""Tokens that another server knows: it is asked by TokenReview.

Upstream counterpart: k8s.io/apiserver/plugin/pkg/authenticator/token/webhook (v1.37).
"""

from typing import Any

import msgspec

from knarr.api.user import User
from knarr.apiserver import remote
from knarr.apiserver.authn.authenticator import Identified
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit.http.errors import HttpError
from knarr.kit.http.messages import Response

TIMEOUT_S = 30.0

Object = dict[str, Any]


class _Info(msgspec.Struct):
    """UserInfo."""

    username: str | None = None
    uid: str | None = None
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _Status(msgspec.Struct):
    """TokenReviewStatus."""

    authenticated: bool | None = None
    user: _Info | None = None
    audiences: list[str] | None = None
    error: str | None = None


class _Review(msgspec.Struct):
    """TokenReview."""

    status: _Status


class WebhookTokens:
    """Asks a server about tokens.

    Args:
        server: Whom to ask.
        audiences: Of the API server; what a token is meant for if the server does not say.
    """

    def __init__(self, server: remote.Remote, audiences: tuple[str, ...]) -> None:
        self._server = server
        self._audiences = audiences

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return whom a token names, or None if the server does not know it.

        Raises:
            InvalidToken: The server cannot be asked, or says what is wrong.
        """
        spec = {"token": token, "audiences": list(audiences)}
        review = {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {},
            "spec": spec,
            "status": {"user": {}},
        }
        try:
            response = await self._server.post(msgspec.json.encode(review), "application/json", timeout_s=TIMEOUT_S)
        except HttpError as err:
            raise InvalidToken(f"failed to make webhook authenticator request: {err}") from err
        status = _read(response)
        if not status.authenticated:
            if status.error:
                raise InvalidToken(status.error)
            return None
        meant = tuple(status.audiences or self._audiences)
        common = tuple(one for one in audiences if one in meant)
        return Identified(_to_user(status.user or _Info()), common) if common else None


def _read(response: Response) -> _Status:
    words = "failed to make webhook authenticator request"
    if response.status >= 300 or not isinstance(response.body, bytes):
        raise InvalidToken(f"{words}: HTTP {response.status}")
    try:
        return msgspec.json.decode(response.body, type=_Review).status
    except msgspec.MsgspecError as err:
        raise InvalidToken(f"{words}: {err}") from err


def _to_user(info: _Info) -> User:
    extra = {key: tuple(values) for key, values in (info.extra or {}).items()}
    return User(info.username or "", tuple(info.groups or ()), info.uid or "", extra)
