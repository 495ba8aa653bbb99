"""Keys and X.509 certificates: a small certificate authority and the files that hold what it issues.

Keys are ECDSA P-256: every Kubernetes client accepts them and making one takes a fraction of a millisecond. Private keys
are written 0600 and replaced atomically, so that a reader sees the old or the new pair and never half of one.
"""

import contextlib
import datetime
import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPublicKeyTypes, CertificatePublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFETIME = datetime.timedelta(days=3650)
LEAF_LIFETIME = datetime.timedelta(days=365)
BACKDATE = datetime.timedelta(minutes=5)
"""How far certificates start in the past, so that machines with slightly slow clocks accept them."""


class Usage(Enum):
    """What a certificate may be used for."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom a certificate names.

    Attributes:
        common_name: The user name, or a server's name.
        organizations: The groups.
        dns_names: Names a server answers to.
        ip_addresses: Addresses a server answers at.
    """

    common_name: str
    organizations: tuple[str, ...] = ()
    dns_names: tuple[str, ...] = ()
    ip_addresses: tuple[str, ...] = ()


class Authority:
    """A certificate authority: a self-signed certificate and its key.

    Args:
        pair: The authority's own certificate and key.
    """

    def __init__(self, pair: KeyPair) -> None:
        self.pair = pair
        self._certificate = x509.load_pem_x509_certificate(pair.certificate)
        key = serialization.load_pem_private_key(pair.key, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"the key of {self._certificate.subject.rfc4514_string()} is not an elliptic-curve key")
        self._key = key

    @classmethod
    def create(cls, common_name: str, *, now: datetime.datetime) -> "Authority":
        """Make a new authority, valid for ten years from `now` (aware)."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = _name(common_name, ())
        certificate = (
            _builder(name, name, key.public_key(), now, CA_LIFETIME)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(KeyPair(_certificate_pem(certificate), format_private_key(key)))

    def issue(
        self,
        subject: Subject,
        usages: Iterable[Usage],
        *,
        now: datetime.datetime,
        lifetime: datetime.timedelta = LEAF_LIFETIME,
    ) -> KeyPair:
        """Make a key and a certificate for it."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self.sign(key.public_key(), subject, usages, now=now, lifetime=lifetime)
        return KeyPair(certificate, format_private_key(key))

    def sign(
        self,
        public_key: CertificateIssuerPublicKeyTypes | CertificatePublicKeyTypes,
        subject: Subject,
        usages: Iterable[Usage],
        *,
        now: datetime.datetime,
        lifetime: datetime.timedelta = LEAF_LIFETIME,
    ) -> bytes:
        """Certify a public key; never beyond the authority's own end.

        Returns:
            The certificate as PEM.
        """
        end = min(now + lifetime, self._certificate.not_valid_after_utc)
        builder = _builder(
            _name(subject.common_name, subject.organizations), self._certificate.subject, public_key, now, end - now
        )
        builder = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage.value for usage in usages]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns_names]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.ip_addresses]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return _certificate_pem(builder.sign(self._key, hashes.SHA256()))

    def certify(
        self,
        request: x509.CertificateSigningRequest,
        *,
        key_usage: x509.KeyUsage,
        extended: Sequence[x509.ObjectIdentifier],
        now: datetime.datetime,
        lifetime: datetime.timedelta,
    ) -> bytes:
        """Certify what a request asks for: its key, subject and alternative names, and nothing else of it.

        Args:
            request: Its signature has been checked.
            key_usage: What the key may be used for.
            extended: What the certificate may be used for.
            now: Aware.
            lifetime: How long it is valid; never beyond the authority's own end.

        Returns:
            The certificate as PEM.
        """
        end = min(now + lifetime, self._certificate.not_valid_after_utc)
        builder = (
            _builder(request.subject, self._certificate.subject, request.public_key(), now, end - now)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if extended:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        with contextlib.suppress(x509.ExtensionNotFound):
            names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            builder = builder.add_extension(names.value, critical=names.critical)
        return _certificate_pem(builder.sign(self._key, hashes.SHA256()))


def new_request(key: bytes, subject: Subject) -> bytes:
    """Make a certificate signing request; PEM.

    Args:
        key: The private key, PEM, on an elliptic curve.
        subject: Whom the certificate will name.
    """
    private = serialization.load_pem_private_key(key, password=None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    builder = x509.CertificateSigningRequestBuilder().subject_name(_name(subject.common_name, subject.organizations))
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in subject.dns_names]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in subject.ip_addresses]
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def new_signing_key() -> bytes:
    """Make a private key for signing tokens; PEM."""
    return format_private_key(ec.generate_private_key(ec.SECP256R1()))


def format_private_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a private key as unencrypted PKCS#8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_hash(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate's public key info, as `sha256:<hex>`; what join tokens pin.

    Args:
        certificate: PEM.
    """
    public_key = x509.load_pem_x509_certificate(certificate).public_key()
    info = public_key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return "sha256:" + hashlib.sha256(info).hexdigest()


def is_due(certificate: bytes, *, now: datetime.datetime, subject: Subject | None = None) -> bool:
    """Tell whether a certificate should be issued anew.

    Args:
        certificate: PEM.
        now: Aware.
        subject: If given, the certificate must also cover all its names and addresses.

    Returns:
        True when less than a third of its lifetime is left, or the subject is not covered.
    """
    parsed = x509.load_pem_x509_certificate(certificate)
    lifetime = parsed.not_valid_after_utc - parsed.not_valid_before_utc
    if parsed.not_valid_after_utc - now < lifetime / 3:
        return True
    return subject is not None and not _covers(parsed, subject)


def _covers(certificate: x509.Certificate, subject: Subject) -> bool:
    if certificate.subject != _name(subject.common_name, subject.organizations):
        return False
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return not subject.dns_names and not subject.ip_addresses
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    return (
        set(subject.dns_names) <= set(names.get_values_for_type(x509.DNSName))
        and set(subject.ip_addresses) <= addresses
    )


def write_file(path: Path, data: bytes, *, mode: int = 0o600) -> None:
    """Replace a file atomically and durably.

    Args:
        path: Its folder exists.
        data: The new content.
        mode: Permission bits, set before the content is written.
    """
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def write_pair(pair: KeyPair, certificate_path: Path, key_path: Path) -> None:
    """Write the key (0600), then the certificate (0644)."""
    write_file(key_path, pair.key)
    write_file(certificate_path, pair.certificate, mode=0o644)


def load_pair(certificate_path: Path, key_path: Path) -> KeyPair | None:
    """Read a pair that `write_pair` wrote; None if either file is missing."""
    try:
        return KeyPair(certificate_path.read_bytes(), key_path.read_bytes())
    except FileNotFoundError:
        return None


def _name(common_name: str, organizations: Iterable[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: CertificateIssuerPublicKeyTypes | CertificatePublicKeyTypes,
    now: datetime.datetime,
    lifetime: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_encipherment=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
