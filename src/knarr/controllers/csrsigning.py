"""Approved requests get their certificates, signed by the cluster's authority.

Four signers work here, each for what it is for; a request that is approved and does not fit its signer fails for good.

Upstream counterpart: pkg/controller/certificates/signer, authority (v1.37).
"""

import base64
import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from lightkube.models import certificates_v1
from msgspec.structs import replace

from knarr.control import Context, loop
from knarr.controllers import csr
from knarr.kit import pki

LIFETIME = timedelta(days=365)
REASON = "SignerValidationFailure"
_SHORTEST = timedelta(minutes=10)

_KEY_USAGES: Mapping[str, str] = {
    "signing": "digital_signature",
    "digital signature": "digital_signature",
    "content commitment": "content_commitment",
    "key encipherment": "key_encipherment",
    "key agreement": "key_agreement",
    "data encipherment": "data_encipherment",
    "cert sign": "key_cert_sign",
    "crl sign": "crl_sign",
    "encipher only": "encipher_only",
    "decipher only": "decipher_only",
}
_EXTENDED: Mapping[str, x509.ObjectIdentifier] = {
    "any": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    "server auth": ExtendedKeyUsageOID.SERVER_AUTH,
    "client auth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "code signing": ExtendedKeyUsageOID.CODE_SIGNING,
    "email protection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "s/mime": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "ipsec end system": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.5"),
    "ipsec tunnel": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.6"),
    "ipsec user": x509.ObjectIdentifier("1.3.6.1.5.5.7.3.7"),
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocsp signing": ExtendedKeyUsageOID.OCSP_SIGNING,
    "microsoft sgc": x509.ObjectIdentifier("1.3.6.1.4.1.311.10.3.3"),
    "netscape sgc": x509.ObjectIdentifier("2.16.840.1.113730.4.1"),
}
_AGREEMENT_ONLY = ("encipher_only", "decipher_only")

logger = logging.getLogger(__name__)


class Reconciler:
    """Signs one request, if it is approved and fits.

    Args:
        context: Client, informers and time.
        authority: Signs.
    """

    def __init__(self, context: Context, authority: pki.Authority) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers.of(certificates_v1.CertificateSigningRequest)
        self._authority = authority

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Look at a request and sign it, fail it, or leave it alone."""
        obj = self._requests.get("", request.name)
        if obj is None or obj.spec.signerName not in csr.SIGNERS or csr.is_issued(obj):
            return loop.Result()
        if not csr.has_condition(obj, csr.APPROVED) or csr.has_condition(obj, csr.DENIED, csr.FAILED):
            return loop.Result()
        wanted = csr.read(obj)
        problem = "unable to parse csr" if wanted is None else find_problem(obj, wanted)
        status = obj.status or certificates_v1.CertificateSigningRequestStatus()
        now = self._clock.now()
        if problem or wanted is None:
            condition = certificates_v1.CertificateSigningRequestCondition(
                type=csr.FAILED,
                status="True",
                reason=REASON,
                message=problem,
                lastUpdateTime=now,
                lastTransitionTime=now,
            )
            status = replace(status, conditions=[*(status.conditions or ()), condition])
        else:
            key_usage, extended = to_usages(obj.spec.usages or ())
            pem = self._authority.certify(
                wanted.request, key_usage=key_usage, extended=extended, now=now, lifetime=lifetime(obj)
            )
            status = replace(status, certificate=base64.b64encode(pem).decode())
        await self._client.update(replace(obj, status=status), subresource="status")
        return loop.Result()


def find_problem(obj: csr.Request, wanted: csr.Wanted) -> str:
    """Return why a request does not fit its signer; empty if it does."""
    match obj.spec.signerName:
        case csr.KUBELET_CLIENT:
            return csr.kubelet_client_problem(wanted, obj.spec.usages)
        case csr.KUBELET_SERVING:
            return csr.kubelet_serving_problem(wanted, obj.spec.usages, obj.spec.username or "")
        case csr.CLIENT:
            return csr.client_problem(obj.spec.usages)
    return ""


def lifetime(obj: csr.Request) -> timedelta:
    """Return how long a certificate will be valid: as wanted, ten minutes at least, a year at most."""
    if obj.spec.expirationSeconds is None:
        return LIFETIME
    return min(LIFETIME, max(_SHORTEST, timedelta(seconds=obj.spec.expirationSeconds)))


def to_usages(usages: Sequence[str]) -> tuple[x509.KeyUsage, list[x509.ObjectIdentifier]]:
    """Return the usages of a request as a certificate has them."""
    named = dict.fromkeys(_KEY_USAGES.values(), False)
    named.update({_KEY_USAGES[one]: True for one in usages if one in _KEY_USAGES})
    if not named["key_agreement"]:
        named.update(dict.fromkeys(_AGREEMENT_ONLY, False))  # they mean something beside it alone
    extended = sorted({_EXTENDED[one] for one in usages if one in _EXTENDED}, key=lambda oid: oid.dotted_string)
    return x509.KeyUsage(**named), extended


def build(context: Context) -> loop.Controller:
    """Assemble the controller; without an authority it leaves requests to others."""
    controller: loop.Controller
    options = context.options
    if not options.signing_certificate:
        return loop.Controller("csrsigning", _Idle(), context)
    authority = pki.Authority(pki.KeyPair(options.signing_certificate, options.signing_key))
    controller = loop.Controller("csrsigning", Reconciler(context, authority), context)
    controller.watch(certificates_v1.CertificateSigningRequest, loop.itself)
    return controller


class _Idle:
    async def reconcile(self, request: loop.Request) -> loop.Result:
        return loop.Result()
