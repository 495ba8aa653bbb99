"""How a second server comes to the authorities' keys: in a Secret, encrypted with a key that only goes from hand to hand.

`knarr token create --control-plane` puts what a server shares with its like into `kube-system/kubeadm-certs`: the authorities and
the key that signs service account tokens, the options in `server.json` and the files that these name. The Secret belongs to the token's,
and goes with it after two hours. Whoever has token and key, and nobody else, can read it.

Upstream counterpart: kubeadm init phase upload-certs (cmd/kubeadm/app/phases/copycerts, v1.37), whose names these are.
"""

import base64
import binascii
import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from lightkube.models import core_v1, meta_v1

from knarr.api import errors as api_errors
from knarr.client import Client
from knarr.cluster import serveroptions, tokens
from knarr.cluster.errors import ClusterError, UsageError
from knarr.cluster.layout import Layout
from knarr.kit import pki
from knarr.store import places

NAMESPACE, NAME = "kube-system", "kubeadm-certs"
TTL_S = 2 * 3600.0
KEY_BYTES = 32
_NONCE_BYTES = 12
_PKI = ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key")
_PREFIX = "file."
"""Before the names of files that are below the data folder, whose "/" is written "..": keys of Secrets have none."""


def collect(layout: Layout) -> dict[str, bytes]:
    """Return what servers share: path below the data folder to content.

    Raises:
        UsageError: The store is one that servers cannot share, or an option names a file elsewhere.
    """
    options = serveroptions.load(layout)
    if not places.is_shared(options.store):
        raise UsageError(
            "several servers need a store that they share: an etcd, named by `store` in "
            f"{layout.data / serveroptions.FILE} (`knarr up --store etcd://…` writes it)"
        )
    found = {f"pki/{name}": (layout.pki / name).read_bytes() for name in _PKI}
    found[serveroptions.FILE] = (layout.data / serveroptions.FILE).read_bytes()
    for text in serveroptions.files(options):
        path = layout.data / text
        if not path.exists():
            continue  # made when first written to, as logs
        if path.is_absolute() and not path.resolve().is_relative_to(layout.data.resolve()):
            continue  # the administrator's own, and whoever sets up the other machine has to bring it there
        found[str(path.resolve().relative_to(layout.data.resolve()))] = path.read_bytes()
    return found


def elsewhere(layout: Layout) -> list[str]:
    """Return the files that options name and that are not below the data folder: they have to be brought to other servers."""
    paths = [layout.data / text for text in serveroptions.files(serveroptions.load(layout))]
    return [str(path) for path in paths if not path.resolve().is_relative_to(layout.data.resolve())]


async def upload(client: Client, files: Mapping[str, bytes], token: str) -> str:
    """Put what servers share into the Secret.

    Args:
        client: An administrator's.
        files: From `collect`.
        token: The token that it belongs to.

    Returns:
        The key, in hexadecimal: it is nowhere else.
    """
    key = secrets.token_bytes(KEY_BYTES)
    owner = await client.get(core_v1.Secret, f"bootstrap-token-{token.partition('.')[0]}", namespace=tokens.NAMESPACE)
    assert owner.metadata is not None and owner.metadata.name and owner.metadata.uid
    reference = meta_v1.OwnerReference(
        apiVersion="v1", kind="Secret", name=owner.metadata.name, uid=owner.metadata.uid, controller=True
    )
    data = {_to_key(path): base64.b64encode(encrypt(key, content)).decode() for path, content in files.items()}
    with contextlib.suppress(api_errors.NotFound):  # of an earlier token
        await client.delete(core_v1.Secret, NAME, namespace=NAMESPACE)
    metadata = meta_v1.ObjectMeta(name=NAME, namespace=NAMESPACE, ownerReferences=[reference])
    await client.create(core_v1.Secret(metadata=metadata, data=data, type="Opaque"))
    return key.hex()


async def download(client: Client, key: str) -> dict[str, bytes]:
    """Read what servers share.

    Args:
        client: One with the token.
        key: From `upload`.

    Returns:
        Path below the data folder to content.

    Raises:
        UsageError: The key does not look like one.
        ClusterError: The Secret is gone, or another key's.
    """
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise UsageError(f"--certificate-key: expected {2 * KEY_BYTES} hexadecimal digits")
    try:
        found = await client.get(core_v1.Secret, NAME, namespace=NAMESPACE)
    except api_errors.NotFound as err:
        raise ClusterError(
            "the certificates for other servers are not there (any more): `knarr token create --control-plane` on a server"
        ) from err
    try:
        return {_to_path(name): decrypt(raw, base64.b64decode(value)) for name, value in (found.data or {}).items()}
    except (InvalidTag, ValueError, binascii.Error) as err:
        raise ClusterError("the certificates for other servers were encrypted with another --certificate-key") from err


def write(layout: Layout, files: Mapping[str, bytes]) -> None:
    """Write what `download` read below the data folder, all 0600.

    Raises:
        ClusterError: A path leads out of it.
    """
    for name, content in files.items():
        path = layout.data / name
        if not path.resolve().is_relative_to(layout.data.resolve()):
            raise ClusterError(f"{name!r} is no path below {layout.data}")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        pki.write_file(path, content)


def encrypt(key: bytes, content: bytes) -> bytes:
    """Encrypt with AES-GCM, the nonce in front."""
    nonce = os.urandom(_NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, content, None)


def decrypt(key: bytes, content: bytes) -> bytes:
    """Decrypt what `encrypt` returned.

    Raises:
        InvalidTag: It was another key, or something was changed.
    """
    return AESGCM(key).decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], None)


def _to_key(path: str) -> str:
    return _PREFIX + path.replace("/", "..")


def _to_path(name: str) -> str:
    return Path(name.removeprefix(_PREFIX).replace("..", "/")).as_posix()
