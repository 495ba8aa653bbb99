import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from knarr.kit import pki
from knarr.node.server.auth import subresources, user_of

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def test_certificate_names_user_and_groups() -> None:
    pair = pki.Authority.create("ca", now=NOW).issue(
        pki.Subject("kube-apiserver-kubelet-client", ("system:masters",)), [pki.Usage.CLIENT], now=NOW
    )
    user = user_of(x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER))
    assert user is not None
    assert (user.name, user.groups) == ("kube-apiserver-kubelet-client", ("system:masters", "system:authenticated"))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/metrics", ["metrics"]),
        ("/metrics/resource", ["metrics"]),
        ("/stats/summary", ["stats"]),
        ("/logs/x", ["log"]),
        ("/healthz", ["healthz", "proxy"]),
        ("/pods", ["pods", "proxy"]),
        ("/exec/a/b/c", ["proxy"]),
        ("/statsx", ["proxy"]),
    ],
)
def test_subresources(path: str, expected: list[str]) -> None:
    assert subresources(path) == expected
