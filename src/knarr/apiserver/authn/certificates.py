"""Users and front proxies by their client certificates.

TLS has verified the certificate against one of the configured authorities; which one decides what it means, so its
signature is checked again here, once a certificate. Intermediate authorities are not accepted.

Upstream counterpart: k8s.io/apiserver/pkg/authentication/request/{x509,headerrequest} (v1.37).
"""

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from knarr.api.user import User
from knarr.kit import metrics
from knarr.kit.clock import Clock
from knarr.kit.http.messages import Request

FRONT_PROXY_NAMES = frozenset({"front-proxy-client"})
"""Common names that a front proxy's certificate may have. Source: kubeadm's --requestheader-allowed-names."""
CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
REMOTE = "x-remote-"
EXTRA = "x-remote-extra-"
_UID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.57683.2")
RELOAD_S = 30.0
"""How often the file of an authority is looked at."""
_CACHED = 1024
_CLIENT_USAGES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Verified:
    user: User
    start: datetime
    end: datetime


class Verifier:
    """Tells whom certificates of one authority name.

    Args:
        authorities: A PEM file with one or more certificates; read again when it changes.
        clock: Certificates count only while they are valid, also on old connections.
        lifetimes: Notes how long certificates still live; None notes nothing.
    """

    def __init__(self, authorities: Path, clock: Clock, lifetimes: metrics.Distribution | None = None) -> None:
        self._lifetimes = lifetimes
        self._path = authorities
        self._authorities = x509.load_pem_x509_certificates(authorities.read_bytes())
        self._stamp = _stamp(authorities)
        self._clock = clock
        self._next_look_s = clock.monotonic_s() + RELOAD_S
        self._known: dict[bytes, _Verified | None] = {}

    def verify(self, certificate: bytes) -> User | None:
        """Return the user that a certificate (DER) names, or None if the authority did not issue it for clients."""
        if self._clock.monotonic_s() >= self._next_look_s:
            self._look_again()
        if certificate in self._known:
            found = self._known[certificate]
        else:
            if len(self._known) >= _CACHED:
                self._known.clear()
            found = self._known[certificate] = self._read(certificate)
        now = self._clock.now()
        if found is None or not found.start <= now <= found.end:
            return None
        if self._lifetimes is not None:
            self._lifetimes.observe((found.end - now).total_seconds())
        return found.user

    def _look_again(self) -> None:
        """Read the authorities if their file has changed; a damaged one changes nothing."""
        self._next_look_s = self._clock.monotonic_s() + RELOAD_S
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._authorities = x509.load_pem_x509_certificates(self._path.read_bytes())
        except (OSError, ValueError) as err:
            logger.warning("%s cannot be read, its former content still counts: %s", self._path, err)
            return
        self._stamp = stamp
        self._known.clear()

    def _read(self, der: bytes) -> _Verified | None:
        certificate = x509.load_der_x509_certificate(der)
        if not any(_is_issued_by(certificate, authority) for authority in self._authorities):
            return None
        if not _is_for_clients(certificate):
            return None
        names = _values(certificate.subject, NameOID.COMMON_NAME)
        if not names or not names[0]:
            return None
        uids = _values(certificate.subject, _UID_OID)
        extra = {CREDENTIAL_ID: (f"X509SHA256={hashlib.sha256(der).hexdigest()}",)}
        groups = tuple(_values(certificate.subject, NameOID.ORGANIZATION_NAME))
        user = User(names[0], groups, uids[0] if uids else "", extra)
        return _Verified(user, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


class ClientCertificates:
    """The common name is the user, the organizations are its groups.

    Args:
        verifier: Of the client authority.
    """

    def __init__(self, verifier: Verifier) -> None:
        self._verifier = verifier

    def authenticate(self, request: Request) -> User | None:
        """Return whom the client certificate names, or None if there is none of this authority."""
        certificate = request.peer.certificate
        return self._verifier.verify(certificate) if certificate is not None else None


class FrontProxy:
    """A proxy with a certificate of the front proxy authority tells in X-Remote-* headers for whom it asks.

    Args:
        verifier: Of the front proxy authority.
        names: Common names that are allowed; empty means all.
    """

    def __init__(self, verifier: Verifier, names: frozenset[str] = FRONT_PROXY_NAMES) -> None:
        self._verifier = verifier
        self._names = names

    def authenticate(self, request: Request) -> User | None:
        """Return the user in the headers, which are then removed; without such a certificate they mean nothing."""
        certificate = request.peer.certificate
        proxy = self._verifier.verify(certificate) if certificate is not None else None
        if proxy is None or (self._names and proxy.name not in self._names):
            return None
        headers = request.headers
        name = headers.get("x-remote-user")
        if not name:
            return None
        extra: dict[str, list[str]] = {}
        for key, value in headers:
            if key.startswith(EXTRA):
                extra.setdefault(unquote(key[len(EXTRA) :]), []).append(value)
        user = User(
            name,
            tuple(headers.get_all("x-remote-group")),
            headers.get("x-remote-uid") or "",
            {key: tuple(values) for key, values in extra.items()},
        )
        for key in {key for key, _ in headers if key.startswith(REMOTE)}:
            headers.remove(key)
        return user


def _stamp(path: Path) -> tuple[int, int]:
    state = path.stat()
    return state.st_mtime_ns, state.st_ino


def _values(name: x509.Name, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(attribute.value) for attribute in name.get_attributes_for_oid(oid)]


def _is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_for_clients(certificate: x509.Certificate) -> bool:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return any(usage in _CLIENT_USAGES for usage in usages)
