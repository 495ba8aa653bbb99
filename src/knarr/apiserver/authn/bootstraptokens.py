"""Bootstrap tokens: short-lived secrets with which nodes join.

Upstream counterpart: plugin/pkg/auth/authenticator/token/bootstrap (v1.37).
"""

import base64
import binascii
import hmac
import re
from datetime import datetime

from knarr.api.user import User
from knarr.apiserver.authn.authenticator import Identified
from knarr.apiserver.authn.claims import Object, Reader
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit.clock import Clock

NAMESPACE = "kube-system"
SECRET_TYPE = "bootstrap.kubernetes.io/token"  # a Secret's type, not a secret
GROUP = "system:bootstrappers"
USER_PREFIX = "system:bootstrap:"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")


class BootstrapTokens:
    """Tokens that Secrets of their own type in kube-system describe.

    Args:
        registry: Has the Secrets.
        clock: Tells whether a token has expired.
        audiences: Of the API server: what such tokens are meant for.
    """

    def __init__(self, registry: Reader, clock: Clock, audiences: tuple[str, ...]) -> None:
        self._registry = registry
        self._clock = clock
        self._audiences = audiences

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return the bootstrap user of a token, or None if there is none.

        Raises:
            InvalidToken: A Secret of it exists and is malformed.
        """
        match = _TOKEN.fullmatch(token)
        if match is None:
            return None
        token_id, token_secret = match.groups()
        secret = self._registry.get("secrets", NAMESPACE, f"bootstrap-token-{token_id}")
        if secret is None or secret["metadata"].get("deletionTimestamp") or secret.get("type") != SECRET_TYPE:
            return None
        if (
            not hmac.compare_digest(_text(secret, "token-secret"), token_secret)
            or _text(secret, "token-id") != token_id
        ):
            return None
        if self._has_expired(secret) or _text(secret, "usage-bootstrap-authentication") != "true":
            return None
        extra = [group.strip() for group in _text(secret, "auth-extra-groups").split(",") if group.strip()]
        for group in extra:
            if not _GROUP.fullmatch(group):
                raise InvalidToken(f'bootstrap token has the invalid group "{group}"')
        groups = tuple(sorted({GROUP, *extra}))
        common = tuple(one for one in audiences if one in self._audiences)
        return Identified(User(f"{USER_PREFIX}{token_id}", groups), common) if common else None

    def _has_expired(self, secret: Object) -> bool:
        expiration = _text(secret, "expiration")
        if not expiration:
            return False
        try:
            return datetime.fromisoformat(expiration) <= self._clock.now()
        except (ValueError, TypeError):  # TypeError: a time without its zone
            return True


def _text(secret: Object, key: str) -> str:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
