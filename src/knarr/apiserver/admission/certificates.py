"""Who may approve and sign certificates, and for whom none are made.

Upstream counterpart: plugin/pkg/admission/certificates/{approval,signing,subjectrestriction,ctbattest} (v1.37).
"""

import base64
import binascii

from cryptography import x509
from cryptography.x509.oid import NameOID

from knarr.api.user import MASTERS
from knarr.apiserver.admission.chain import CREATE, UPDATE, AdmissionRequest, Context, Object, Plugin
from knarr.apiserver.requestinfo import RequestInfo

GROUP = "certificates.k8s.io"
RESOURCE = f"certificatesigningrequests.{GROUP}"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"


def build_approval(context: Context) -> Plugin:
    """Make CertificateApproval: approving needs the verb approve on the signer."""

    async def validate(request: AdmissionRequest) -> None:
        signer = _signer(request.old)
        if not await _is_allowed(context, request, "approve", signer):
            raise request.forbidden(f'user not permitted to approve requests with signerName "{signer}"')

    return Plugin("CertificateApproval", frozenset({UPDATE}), frozenset({f"{RESOURCE}/approval"}), validate=validate)


def build_signing(context: Context) -> Plugin:
    """Make CertificateSigning: signing needs the verb sign on the signer."""

    async def validate(request: AdmissionRequest) -> None:
        new, old = (((one or {}).get("status") or {}) for one in (request.object, request.old))
        # What else is in the status is not the signer's doing.
        if all(new.get(field) == old.get(field) for field in ("certificate", "conditions")):
            return
        signer = _signer(request.old)
        if not await _is_allowed(context, request, "sign", signer):
            raise request.forbidden(f'user not permitted to sign requests with signerName "{signer}"')

    return Plugin("CertificateSigning", frozenset({UPDATE}), frozenset({f"{RESOURCE}/status"}), validate=validate)


def build_subject_restriction(context: Context) -> Plugin:
    """Make CertificateSubjectRestriction: nobody becomes a member of system:masters by a request."""

    async def validate(request: AdmissionRequest) -> None:
        assert request.object is not None
        spec = request.object.get("spec") or {}
        if spec.get("signerName") != CLIENT_SIGNER:
            return
        if MASTERS in organizations(request, spec):
            raise request.forbidden(f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed")

    return Plugin("CertificateSubjectRestriction", frozenset({CREATE}), frozenset({RESOURCE}), validate=validate)


def build_attest(context: Context) -> Plugin:
    """Make ClusterTrustBundleAttest: a bundle of a signer needs the verb attest on it."""

    async def validate(request: AdmissionRequest) -> None:
        for obj in (request.object, request.old):
            signer = _signer(obj)
            if signer and not await _is_allowed(context, request, "attest", signer):
                raise request.forbidden(f'user not permitted to attest for signerName "{signer}"')

    targets = frozenset({f"clustertrustbundles.{GROUP}"})
    return Plugin("ClusterTrustBundleAttest", frozenset({CREATE, UPDATE}), targets, validate=validate)


def read_request(request: AdmissionRequest, spec: Object) -> x509.CertificateSigningRequest:
    """Return the PKCS#10 request in a CertificateSigningRequest.

    Raises:
        Forbidden: There is none.
    """
    try:
        return x509.load_pem_x509_csr(base64.b64decode(spec.get("request") or ""))
    except (ValueError, binascii.Error) as error:
        raise request.forbidden("unable to parse csr: PEM block type must be CERTIFICATE REQUEST") from error


def organizations(request: AdmissionRequest, spec: Object) -> set[str]:
    """Return the organizations of the subject for whom a certificate is wanted."""
    subject = read_request(request, spec).subject
    return {str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)}


def _signer(obj: Object | None) -> str:
    return ((obj or {}).get("spec") or {}).get("signerName") or ""


async def _is_allowed(context: Context, request: AdmissionRequest, verb: str, signer: str) -> bool:
    domain = signer.partition("/")[0]
    for name in (signer, f"{domain}/*"):
        info = RequestInfo(
            is_resource_request=True, path="", verb=verb, group=GROUP, version="*", resource="signers", name=name
        )
        if (await context.authorizer.decide(request.user, info)).allowed:
            return True
    return False
