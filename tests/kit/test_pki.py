import datetime
import stat
from pathlib import Path

from cryptography import x509

from knarr.kit import pki

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
SERVER = pki.Subject("kube-apiserver", dns_names=("localhost",), ip_addresses=("127.0.0.1",))


def test_leaf_is_signed_by_its_authority_and_carries_its_names() -> None:
    authority = pki.Authority.create("knarr", now=NOW)
    leaf = x509.load_pem_x509_certificate(authority.issue(SERVER, [pki.Usage.SERVER], now=NOW).certificate)
    leaf.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.certificate))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(ip) for ip in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_leaf_never_outlives_its_authority() -> None:
    authority = pki.Authority.create("knarr", now=NOW - pki.CA_LIFETIME + datetime.timedelta(days=1))
    pair = authority.issue(SERVER, [pki.Usage.SERVER], now=NOW)
    assert x509.load_pem_x509_certificate(pair.certificate).not_valid_after_utc == NOW + datetime.timedelta(days=1)


def test_certificate_is_due_in_its_last_third_or_when_a_name_is_missing() -> None:
    pair = pki.Authority.create("knarr", now=NOW).issue(SERVER, [pki.Usage.SERVER], now=NOW)
    assert not pki.is_due(pair.certificate, now=NOW, subject=SERVER)
    assert not pki.is_due(pair.certificate, now=NOW + pki.LEAF_LIFETIME * 0.6)
    assert pki.is_due(pair.certificate, now=NOW + pki.LEAF_LIFETIME * 0.7)
    other = pki.Subject("kube-apiserver", dns_names=("localhost", "db1"), ip_addresses=("127.0.0.1",))
    assert pki.is_due(pair.certificate, now=NOW, subject=other)
    assert pki.is_due(pair.certificate, now=NOW, subject=pki.Subject("other"))


def test_private_keys_are_readable_by_the_owner_only(tmp_path: Path) -> None:
    pair = pki.Authority.create("knarr", now=NOW).pair
    pki.write_pair(pair, tmp_path / "ca.crt", tmp_path / "ca.key")
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    assert pki.load_pair(tmp_path / "ca.crt", tmp_path / "ca.key") == pair
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ca.crt", "ca.key"]
    assert pki.load_pair(tmp_path / "ca.crt", tmp_path / "none.key") is None


def test_certificate_hash_depends_on_the_key_alone() -> None:
    authority = pki.Authority.create("knarr", now=NOW)
    digest = pki.certificate_hash(authority.pair.certificate)
    assert digest.startswith("sha256:")
    assert digest != pki.certificate_hash(pki.Authority.create("knarr", now=NOW).pair.certificate)
