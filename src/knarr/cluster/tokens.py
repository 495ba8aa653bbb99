"""Bootstrap tokens: secrets in kube-system that let somebody without credentials introduce itself.

Source: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/ (format, usages, groups).
"""

import base64
import binascii
import datetime
import re
import secrets
import string
from dataclasses import dataclass

from lightkube.models import core_v1, meta_v1

from knarr.client import Client
from knarr.cluster.errors import ClusterError, UsageError

TYPE = "bootstrap.kubernetes.io/token"
NAMESPACE = "kube-system"
JOIN_GROUP = "system:bootstrappers:kubeadm:default-node-token"
ALPHABET = string.ascii_lowercase + string.digits
ID_LENGTH, SECRET_LENGTH = 6, 16
_USAGE = "usage-bootstrap-"


@dataclass(frozen=True, slots=True)
class Known:
    """A token without its secret half.

    Attributes:
        id: The public half, six characters.
        expires: RFC 3339; empty if it never does.
        usages: "authentication", "signing".
    """

    id: str
    expires: str
    usages: tuple[str, ...]


async def create(client: Client, *, ttl_s: float) -> str:
    """Make a token.

    Args:
        client: An administrator's.
        ttl_s: How long it holds, in seconds; 0 means for ever.

    Returns:
        `id.secret`; it cannot be read from `find_all` later.
    """
    token_id = _random(ID_LENGTH)
    secret = _random(SECRET_LENGTH)
    data = {
        "token-id": token_id,
        "token-secret": secret,
        "usage-bootstrap-authentication": "true",
        "usage-bootstrap-signing": "true",
        "auth-extra-groups": JOIN_GROUP,
        "description": "made by knarr token create",
    }
    if ttl_s:
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ttl_s)
        data["expiration"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    metadata = meta_v1.ObjectMeta(name=f"bootstrap-token-{token_id}", namespace=NAMESPACE)
    await client.create(core_v1.Secret(metadata=metadata, type=TYPE, stringData=data))
    return f"{token_id}.{secret}"


async def find_all(client: Client) -> list[Known]:
    """Return the tokens of the cluster, by id."""
    found = await client.list(core_v1.Secret, namespace=NAMESPACE, fields=f"type={TYPE}")
    return sorted((_to_known(secret) for secret in found.items), key=lambda known: known.id)


async def delete(client: Client, token: str) -> None:
    """Delete a token by itself or its id.

    Raises:
        UsageError: It does not look like one.
        NotFound: There is none.
    """
    match = re.fullmatch(rf"([a-z0-9]{{{ID_LENGTH}}})(\.[a-z0-9]{{{SECRET_LENGTH}}})?", token)
    if match is None:
        raise UsageError(f"{token!r}: expected a token such as abcdef.0123456789abcdef, or its first part")
    await client.delete(core_v1.Secret, f"bootstrap-token-{match[1]}", namespace=NAMESPACE)


def _to_known(secret: core_v1.Secret) -> Known:
    data = {name: decode_value(value) for name, value in (secret.data or {}).items()}
    usages = (name.removeprefix(_USAGE) for name, value in data.items() if name.startswith(_USAGE) and value == "true")
    return Known(data.get("token-id", ""), data.get("expiration", ""), tuple(sorted(usages)))


def decode_value(value: str) -> str:
    """Decode a value of a Secret's data.

    Raises:
        ClusterError: It is not base64 of UTF-8.
    """
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError) as err:
        raise ClusterError(f"a bootstrap token secret is damaged: {err}") from err


def _random(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
