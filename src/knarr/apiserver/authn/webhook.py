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

TIMEOUT_S = 30.0

Object = dict[str, Any]


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
        try:
            answer = msgspec.json.decode(response.body) if isinstance(response.body, bytes) else None
        except msgspec.MsgspecError:
            answer = None
        status = answer.get("status") if isinstance(answer, dict) and response.status < 300 else None
        if not isinstance(status, dict):
            raise InvalidToken(f"failed to make webhook authenticator request: HTTP {response.status}")
        if not status.get("authenticated"):
            if status.get("error"):
                raise InvalidToken(str(status["error"]))
            return None
        meant = tuple(status.get("audiences") or self._audiences)
        common = tuple(one for one in audiences if one in meant)
        return Identified(_to_user(status.get("user") or {}), common) if common else None


def _to_user(info: Object) -> User:
    extra = {key: tuple(values) for key, values in (info.get("extra") or {}).items()}
    return User(info.get("username") or "", tuple(info.get("groups") or ()), info.get("uid") or "", extra)
