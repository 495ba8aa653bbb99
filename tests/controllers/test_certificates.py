"""Certificates and bootstrap tokens: who gets what without a person, what is signed, what is forgotten."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lightkube.models import certificates_v1, core_v1, meta_v1

from knarr.controllers import (
    bootstrapsigner,
    bootstraptokens,
    csr,
    csrapproving,
    csrcleaner,
    csrsigning,
    legacytokencleaner,
)
from knarr.kit import pki

NOW = datetime(2026, 6, 1, tzinfo=UTC)
CLIENT = ["digital signature", "client auth"]
SERVING = ["digital signature", "server auth"]
NODE = pki.Subject("system:node:n1", ("system:nodes",))


def request(
    subject: pki.Subject = NODE, signer: str = csr.KUBELET_CLIENT, usages: list[str] | None = None, **spec: Any
) -> csr.Request:
    pem = pki.new_request(pki.new_signing_key(), subject)
    return certificates_v1.CertificateSigningRequest(
        metadata=meta_v1.ObjectMeta(name="r", creationTimestamp=NOW),
        spec=certificates_v1.CertificateSigningRequestSpec(
            request=base64.b64encode(pem).decode(), signerName=signer, usages=usages or CLIENT, **spec
        ),
    )


def serving(*names: str, addresses: tuple[str, ...] = (), node: str = "n1") -> pki.Subject:
    return pki.Subject(f"system:node:{node}", ("system:nodes",), dns_names=names, ip_addresses=addresses)


FITS: list[tuple[csr.Request, str]] = [
    (request(), ""),
    (request(usages=[*CLIENT, "key encipherment"]), ""),
    (request(usages=SERVING), "usages did not match"),
    (request(usages=["client auth"]), "usages did not match"),
    (request(pki.Subject("system:node:n1", ("system:masters",))), "organization"),
    (request(pki.Subject("system:node:n1", ("system:nodes", "system:masters"))), "organization"),
    (request(pki.Subject("jane", ("system:nodes",))), "common name"),
    (request(serving("n1")), "not allowed"),
    (request(serving("n1"), csr.KUBELET_SERVING, SERVING, username="system:node:n1"), ""),
    (request(serving("n1"), csr.KUBELET_SERVING, SERVING, username="system:node:n2"), "another user"),
    (request(NODE, csr.KUBELET_SERVING, SERVING, username="system:node:n1"), "is required"),
    (request(serving("n1"), csr.KUBELET_SERVING, CLIENT, username="system:node:n1"), "usages did not match"),
    (request(pki.Subject("jane"), csr.CLIENT), ""),
    (request(pki.Subject("jane"), csr.CLIENT, SERVING), "usages did not match"),
    (request(pki.Subject("anything"), csr.LEGACY, ["any"]), ""),
]


@pytest.mark.parametrize(("obj", "words"), FITS)
def test_what_fits_its_signer(obj: csr.Request, words: str) -> None:
    wanted = csr.read(obj)
    assert wanted is not None
    found = csrsigning.find_problem(obj, wanted)
    assert words in found
    assert bool(words) == bool(found)


def test_nonsense_is_no_request() -> None:
    obj = request()
    obj.spec.request = base64.b64encode(b"-----BEGIN CERTIFICATE REQUEST-----\n").decode()
    assert csr.read(obj) is None
    obj.spec.request = "?"
    assert csr.read(obj) is None


def node(name: str, *addresses: str) -> core_v1.Node:
    listed = [core_v1.NodeAddress(type="InternalIP", address=one) for one in addresses]
    return core_v1.Node(metadata=meta_v1.ObjectMeta(name=name), status=core_v1.NodeStatus(addresses=listed))


OWN = [
    (("n1", "localhost"), ("10.0.0.1", "127.0.0.1", "::1"), [node("n1", "10.0.0.1")], True),
    (("n1",), ("10.0.0.1",), [], True),
    (("n1",), ("10.0.0.9",), [node("n1", "10.0.0.1")], False),
    (("n2",), (), [node("n1", "10.0.0.1")], False),
    (("kubernetes.default.svc",), (), [], False),
    (("n1",), ("10.0.0.2",), [node("n2", "10.0.0.2")], False),
    (("n1",), ("10.0.0.2",), [node("n1", "10.0.0.2"), node("n2", "10.0.0.2")], False),
    (("n1",), ("192.0.2.1",), [], False),
    (("n1", "n1.example"), (), [node("n1", "10.0.0.1", "n1.example")], True),
]


@pytest.mark.parametrize(("names", "addresses", "nodes", "is_own"), OWN)
def test_a_node_gets_a_serving_certificate_for_itself_alone(
    names: tuple[str, ...], addresses: tuple[str, ...], nodes: list[core_v1.Node], is_own: bool
) -> None:
    wanted = csr.read(request(serving(*names, addresses=addresses), csr.KUBELET_SERVING, SERVING))
    assert wanted is not None
    assert (csrapproving.serving_problem(wanted, nodes, {"192.0.2.1"}) == "") == is_own


def test_a_certificate_says_what_was_asked_for_and_no_more() -> None:
    authority = pki.Authority.create("ca", now=NOW)
    obj = request(serving("n1", addresses=("10.0.0.1",)), usages=[*SERVING, "key encipherment"], expirationSeconds=3600)
    wanted = csr.read(obj)
    assert wanted is not None
    key_usage, extended = csrsigning.to_usages(obj.spec.usages or [])
    lifetime = csrsigning.lifetime(obj)
    pem = authority.certify(wanted.request, key_usage=key_usage, extended=extended, now=NOW, lifetime=lifetime)
    made = x509.load_pem_x509_certificate(pem)
    made.verify_directly_issued_by(x509.load_pem_x509_certificate(authority.pair.certificate))
    assert made.not_valid_after_utc == NOW + timedelta(hours=1)
    assert made.subject == wanted.request.subject
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [
        ExtendedKeyUsageOID.SERVER_AUTH
    ]
    assert made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_encipherment, usage.key_cert_sign) == (True, True, False)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1"]


def decided(obj: csr.Request, kind: str, age: timedelta, certificate: bytes = b"") -> csr.Request:
    condition = certificates_v1.CertificateSigningRequestCondition(
        type=kind, status="True", lastUpdateTime=NOW - age, lastTransitionTime=NOW - age
    )
    obj.status = certificates_v1.CertificateSigningRequestStatus(
        conditions=[condition], certificate=base64.b64encode(certificate).decode() or None
    )
    return obj


@pytest.mark.parametrize(
    ("obj", "age", "why"),
    [
        (request(), timedelta(hours=25), "pending"),
        (request(), timedelta(hours=23), ""),
        (decided(request(), csr.DENIED, timedelta(hours=2)), timedelta(), "denied"),
        (decided(request(), csr.DENIED, timedelta(minutes=30)), timedelta(), ""),
        (decided(request(), csr.FAILED, timedelta(hours=2)), timedelta(), "failed"),
        (decided(request(), csr.APPROVED, timedelta(hours=2), b"x"), timedelta(), "issued"),
        (decided(request(), csr.APPROVED, timedelta(minutes=5), b"x"), timedelta(), ""),
    ],
)
def test_which_requests_are_over(obj: csr.Request, age: timedelta, why: str) -> None:
    assert csrcleaner.why_over(obj, NOW + age) == why


def secret(expiration: str = "", **more: str) -> core_v1.Secret:
    values = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-signing": "true",
        "expiration": expiration,
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items() if value}
    return core_v1.Secret(
        metadata=meta_v1.ObjectMeta(name="bootstrap-token-abcdef", namespace="kube-system"),
        type=bootstraptokens.TYPE,
        data=data,
    )


@pytest.mark.parametrize(
    ("found", "may_sign"),
    [
        (secret(), True),
        (secret("2026-06-02T00:00:00Z"), True),
        (secret("2026-05-02T00:00:00Z"), False),
        (secret("tomorrow"), False),
        (secret(usage_bootstrap_signing="false"), False),
        (secret(token_id="zzzzzz"), False),
        (secret(token_secret="short"), False),
    ],
)
def test_which_tokens_sign(found: core_v1.Secret, may_sign: bool) -> None:
    assert (bootstraptokens.read_signing(found, NOW) is not None) == may_sign


def test_signatures_come_and_go_with_their_tokens() -> None:
    token = bootstraptokens.Token("abcdef", "0123456789abcdef")
    data = {"kubeconfig": "apiVersion: v1\n", "jws-kubeconfig-gone00": "x", "mine": "y"}
    found = bootstrapsigner.plan(data, [token])
    assert set(found) == {"kubeconfig", "mine", "jws-kubeconfig-abcdef"}
    header, payload, signature = found["jws-kubeconfig-abcdef"].split(".")
    assert base64.urlsafe_b64decode(header + "==") == b'{"alg":"HS256","kid":"abcdef"}'
    assert payload == ""
    assert len(base64.urlsafe_b64decode(signature + "=")) == 32
    assert bootstrapsigner.plan({"mine": "y"}, [token]) == {"mine": "y"}


@pytest.mark.parametrize(
    ("labels", "step"),
    [
        ({}, "invalidate"),
        ({legacytokencleaner.LAST_USED: "2026-05-01"}, ""),
        ({legacytokencleaner.LAST_USED: "2025-05-01"}, "invalidate"),
        ({legacytokencleaner.INVALID_SINCE: "2026-01-01"}, ""),
        ({legacytokencleaner.INVALID_SINCE: "2025-05-01"}, "delete"),
    ],
)
def test_which_legacy_tokens_go(labels: dict[str, str], step: str) -> None:
    made = meta_v1.ObjectMeta(name="s", labels=labels, creationTimestamp=NOW - timedelta(days=900))
    assert legacytokencleaner.plan(core_v1.Secret(metadata=made), NOW - timedelta(days=800), NOW) == step
