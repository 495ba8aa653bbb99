"""Servers that kubeconfig files name: where webhooks for audit, tokens and authorization are.

Such a file has one cluster and one user. The client's own kubeconfig reader is out of reach here: the API server calls out through
`kit` alone.

Upstream counterpart: k8s.io/apiserver/pkg/util/webhook LoadKubeconfig (v1.37).
"""

import base64
import binascii
import os
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knarr.api import codec
from knarr.kit.http import client as http_client
from knarr.kit.http.messages import Headers, Request, Response

Object = dict[str, Any]


class BadRemote(Exception):
    """Raised when a kubeconfig file does not say how to reach a server.

    Attributes:
        path: The file.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"webhook configuration {path}: {why}")
        self.path = path
        self.why = why


class Remote:
    """A server that takes POST requests.

    Args:
        url: Where they go.
        tls: TLS settings for https.
        server_name: On its certificate, if it is not the host of the URL.
        authorization: The header that is sent; empty for none.
    """

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, server_name: str | None = None, authorization: str = ""
    ) -> None:
        parts = urlsplit(url)
        self._path, self._query = parts.path or "/", parts.query
        self._client = http_client.Client(f"{parts.scheme}://{parts.netloc}", tls=tls, server_hostname=server_name)
        self._authorization = authorization

    async def post(self, body: bytes, content_type: str, *, timeout_s: float | None = None) -> Response:
        """Send a body.

        Raises:
            HttpError: It cannot be sent, or is not answered in time.
        """
        fields = [("content-type", content_type), ("accept", "application/json"), ("user-agent", "kube-apiserver")]
        if self._authorization:
            fields.append(("authorization", self._authorization))
        request = Request("POST", self._path, self._query, Headers.from_lower(fields), body)
        return await self._client.request(request, timeout_s=timeout_s)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()


def load(path: Path) -> Remote:
    """Read a kubeconfig file with the server to call.

    Raises:
        BadRemote: It cannot be read, or says not enough.
    """
    try:
        config = codec.decode(path.read_bytes(), codec.YAML)
        return _read(config, path.parent)
    except OSError as err:
        raise BadRemote(path, err.strerror or str(err)) from err
    except (codec.BadBody, KeyError, TypeError, AttributeError, binascii.Error, ssl.SSLError, ValueError) as err:
        raise BadRemote(path, str(err)) from err


def _read(config: Object, folder: Path) -> Remote:
    context = _named(config, "contexts", config.get("current-context") or "", "context") or {}
    cluster = _named(config, "clusters", context.get("cluster") or "", "cluster")
    if cluster is None or not cluster.get("server"):
        raise ValueError("no cluster with a server is named by the current context")
    user = _named(config, "users", context.get("user") or "", "user") or {}
    url: str = cluster["server"]
    token = user.get("token") or ""
    if not token and user.get("tokenFile"):
        token = (folder / user["tokenFile"]).read_text().strip()
    tls = _tls(cluster, user, folder) if url.startswith("https:") else None
    return Remote(url, tls, cluster.get("tls-server-name") or None, f"Bearer {token}" if token else "")


def _named(config: Object, section: str, name: str, inner: str) -> Object | None:
    listed = config.get(section) or []
    found = next((one for one in listed if one.get("name") == name), listed[0] if len(listed) == 1 else None)
    inside: Object | None = None if found is None else found.get(inner)
    return inside


def _tls(cluster: Object, user: Object, folder: Path) -> ssl.SSLContext:
    authority = _content(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate, key = _content(user, "client-certificate", folder), _content(user, "client-key", folder)
    if certificate and key:
        _load_chain(context, certificate + b"\n" + key)
    return context


def _content(section: Object, name: str, folder: Path) -> bytes | None:
    if section.get(f"{name}-data"):
        return base64.b64decode(section[f"{name}-data"])
    return (folder / section[name]).read_bytes() if section.get(name) else None


def _load_chain(context: ssl.SSLContext, pem: bytes) -> None:
    # OpenSSL's loader takes paths alone; a file in memory leaves the key on no disk.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, pem)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
