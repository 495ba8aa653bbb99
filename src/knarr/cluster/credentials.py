"""The certificates and keys of a control plane, made when missing and renewed before they end.

The files carry kubeadm's names, so that whoever knows one finds the other.
"""

import base64
import datetime
import ipaddress
import socket
from pathlib import Path
from typing import Any

from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings
from knarr.kit import pki

ADMIN_GROUP = "system:masters"
NODES_GROUP = "system:nodes"


def ensure(layout: Layout, settings: Settings, *, now: datetime.datetime) -> None:
    """Make every missing or soon-ending certificate and key of the control plane and of this machine's node."""
    authority = _ensure_authority(layout.pki, "ca", f"knarr-{settings.name}", now)
    front_proxy = _ensure_authority(layout.pki, "front-proxy-ca", f"knarr-{settings.name}-front-proxy", now)
    signing_key = layout.pki / "sa.key"
    if not signing_key.exists():
        pki.write_file(signing_key, pki.new_signing_key())
    ensure_leaf(authority, layout.pki / "apiserver", server_subject(settings), pki.Usage.SERVER, now)
    kubelet_client = pki.Subject("kube-apiserver-kubelet-client", (ADMIN_GROUP,))
    ensure_leaf(authority, layout.pki / "apiserver-kubelet-client", kubelet_client, pki.Usage.CLIENT, now)
    ensure_leaf(
        front_proxy, layout.pki / "front-proxy-client", pki.Subject("front-proxy-client"), pki.Usage.CLIENT, now
    )
    ensure_leaf(authority, layout.pki / "admin", pki.Subject("kubernetes-admin", (ADMIN_GROUP,)), pki.Usage.CLIENT, now)
    ensure_node(authority, layout, settings, now=now)


def ensure_node(authority: pki.Authority, layout: Layout, settings: Settings, *, now: datetime.datetime) -> None:
    """Make the client and serving certificates of this machine's node, and leave the authority's beside them."""
    pki.write_file(layout.agent / "ca.crt", authority.pair.certificate, mode=0o644)
    user = f"system:node:{settings.node_name}"
    ensure_leaf(authority, layout.agent / "client", pki.Subject(user, (NODES_GROUP,)), pki.Usage.CLIENT, now)
    addresses = ("127.0.0.1", settings.advertise_address)
    serving = pki.Subject(user, (NODES_GROUP,), dns_names=(settings.node_name, "localhost"), ip_addresses=addresses)
    ensure_leaf(authority, layout.agent / "serving", serving, pki.Usage.SERVER, now)


def server_subject(settings: Settings) -> pki.Subject:
    """Return the names and addresses under which the API server is reached."""
    service = "kubernetes.default.svc"
    names = (
        "kubernetes",
        "kubernetes.default",
        service,
        f"{service}.{settings.domain}",
        "localhost",
        socket.gethostname(),
    )
    addresses = ("127.0.0.1", settings.service_address, settings.advertise_address)
    further = [(name, _is_address(name)) for name in settings.names]
    return pki.Subject(
        "kube-apiserver",
        dns_names=tuple(dict.fromkeys((*names, *(name for name, is_address in further if not is_address)))),
        ip_addresses=tuple(dict.fromkeys((*addresses, *(name for name, is_address in further if is_address)))),
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def admin_kubeconfig(layout: Layout, settings: Settings) -> dict[str, Any]:
    """Return a kubeconfig with the one context of this cluster, its administrator's credentials inline."""

    def inline(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    context = layout.context
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": context,
                "cluster": {
                    "certificate-authority-data": inline(layout.pki / "ca.crt"),
                    "server": settings.server_url,
                },
            }
        ],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": inline(layout.pki / "admin.crt"),
                    "client-key-data": inline(layout.pki / "admin.key"),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }


def ensure_leaf(
    authority: pki.Authority, stem: Path, subject: pki.Subject, usage: pki.Usage, now: datetime.datetime
) -> None:
    """Make a certificate and its key when missing, soon ending or of another subject.

    Args:
        authority: Signs it.
        stem: Path of the files without .crt and .key.
        subject: Whom it names.
        usage: As client or server.
        now: The present.
    """
    certificate, key = stem.with_name(f"{stem.name}.crt"), stem.with_name(f"{stem.name}.key")
    pair = pki.load_pair(certificate, key)
    if pair is None or pki.is_due(pair.certificate, now=now, subject=subject):
        pki.write_pair(authority.issue(subject, [usage], now=now), certificate, key)


def _ensure_authority(folder: Path, stem: str, common_name: str, now: datetime.datetime) -> pki.Authority:
    certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
    pair = pki.load_pair(certificate, key)
    if pair is not None:
        return pki.Authority(pair)
    authority = pki.Authority.create(common_name, now=now)
    pki.write_pair(authority.pair, certificate, key)
    return authority
