import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knarr.apiserver.admission import certificates
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from tests.apiserver.access import user
from tests.apiserver.admission.plugins import Bench, open_bench

ANN = user("ann")
SIGNER = "example.com/mine"


def csr(signer: str = SIGNER, organization: str = "devs", **status: Any) -> dict[str, Any]:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization)]
    key = ec.generate_private_key(ec.SECP256R1())
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(attributes)).sign(key, hashes.SHA256())
    request = base64.b64encode(built.public_bytes(serialization.Encoding.PEM)).decode()
    return {"metadata": {"name": "c"}, "spec": {"signerName": signer, "request": request}, "status": status}


async def allow(bench: Bench, verb: str, name: str) -> None:
    rule = {"verbs": [verb], "apiGroups": [certificates.GROUP], "resources": ["signers"], "resourceNames": [name]}
    await bench.add(CLUSTER_ROLES, "signing", rules=[rule])
    role = {"kind": "ClusterRole", "name": "signing"}
    await bench.add(CLUSTER_ROLE_BINDINGS, "signing", roleRef=role, subjects=[{"kind": "User", "name": "ann"}])


async def test_approval_needs_the_verb() -> None:
    async with open_bench(certificates.build_approval) as bench:
        target = f"{certificates.RESOURCE}/approval"
        assert await bench.update(target, csr(), csr(), who=ANN) == (
            'certificatesigningrequests.certificates.k8s.io "c" is forbidden: user not permitted to approve requests with '
            f'signerName "{SIGNER}"'
        )
        await allow(bench, "approve", "example.com/*")
        assert await bench.update(target, csr(), csr(), who=ANN) == ""


async def test_signing_needs_the_verb() -> None:
    async with open_bench(certificates.build_signing) as bench:
        target = f"{certificates.RESOURCE}/status"
        signed = csr(certificate="x")
        assert "not permitted to sign" in await bench.update(target, signed, csr(), who=ANN)
        assert await bench.update(target, signed, signed, who=ANN) == ""
        await allow(bench, "sign", SIGNER)
        assert await bench.update(target, signed, csr(), who=ANN) == ""


async def test_nobody_asks_for_masters() -> None:
    async with open_bench(certificates.build_subject_restriction) as bench:
        masters = csr(certificates.CLIENT_SIGNER, "system:masters")
        refusal = await bench.create(certificates.RESOURCE, masters, who=ANN)
        assert "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed" in refusal
        assert await bench.create(certificates.RESOURCE, csr(certificates.CLIENT_SIGNER), who=ANN) == ""
        assert await bench.create(certificates.RESOURCE, csr(SIGNER, "system:masters"), who=ANN) == ""
