"""Bootstrap tokens as their Secrets hold them, for the controllers that sign with them and delete them.

Source: k8s.io/cluster-bootstrap/token/{api,util} (v1.37).
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import core_v1

NAMESPACE = "kube-system"
TYPE = "bootstrap.kubernetes.io/token"  # a Secret's type, not a secret
NAME_PREFIX = "bootstrap-token-"
_ID, _SECRET = re.compile(r"[a-z0-9]{6}"), re.compile(r"[a-z0-9]{16}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token that may sign.

    Attributes:
        id: Its public half.
        secret: Its other half.
    """

    id: str
    secret: str


def read_signing(secret: core_v1.Secret, now: datetime) -> Token | None:
    """Return the token of a Secret, or None if there is none, it has expired, or may not sign."""
    name = (secret.metadata.name if secret.metadata else None) or ""
    token_id, token_secret = text(secret, "token-id"), text(secret, "token-secret")
    if secret.type != TYPE or name != NAME_PREFIX + token_id or text(secret, "usage-bootstrap-signing") != "true":
        return None
    if not _ID.fullmatch(token_id) or not _SECRET.fullmatch(token_secret):
        return None
    left_s = seconds_left(secret, now)
    return None if left_s is not None and left_s <= 0 else Token(token_id, token_secret)


def seconds_left(secret: core_v1.Secret, now: datetime) -> float | None:
    """Return how long a token is valid; None if it is for ever; what cannot be read has expired."""
    expiration = text(secret, "expiration")
    if not expiration:
        return None
    try:
        return (datetime.fromisoformat(expiration) - now).total_seconds()
    except (ValueError, TypeError):  # TypeError: a time without its zone
        return 0.0


def text(secret: core_v1.Secret, key: str) -> str:
    """Return a value of a Secret as text; empty if it is none."""
    try:
        return base64.b64decode((secret.data or {}).get(key) or "").decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""
