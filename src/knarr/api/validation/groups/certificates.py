"""CertificateSigningRequests.

Source: k8s.io/kubernetes/pkg/apis/certificates/validation/validation.go, ValidateSignerName in pkg/apis/core/validation (v1.37).
"""

import base64
import binascii
from collections.abc import Mapping

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import format_diff, is_equal
from knarr.api.validation.rules import Rules

_USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment", "decipher only",
    "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel", "ipsec user", "key agreement",
    "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime", "server auth", "signing", "timestamping",
)  # fmt: skip
_EXPIRATION_MIN_S = 600
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_DECIDED = ("Approved", "Denied")
_FINAL = (*_DECIDED, "Failed")
_SIGNER_FORM = "must be a fully qualified domain and path of the form 'example.com/signer-name'"


def create(errors: Errors, obj: Object) -> None:
    """Check a new CertificateSigningRequest."""
    _check(errors, obj, {})


def _check(errors: Errors, obj: Object, old: Object) -> None:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    request = spec.get("request") or ""
    if not old or request != before.get("request"):
        complaint = _request_complaint(request)
        if complaint:
            errors.invalid("spec.request", request, complaint)
    _usages(errors, spec.get("usages") or [], before.get("usages") or [])
    signer = spec.get("signerName") or ""
    if signer == _LEGACY_SIGNER and before.get("signerName") != signer:
        errors.invalid("spec.signerName", signer, "the legacy signerName is not allowed via this API version")
    else:
        signer_name(errors, signer, "spec.signerName")
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _EXPIRATION_MIN_S:
        words = "may not specify a duration less than 600 seconds (10 minutes)"
        errors.invalid("spec.expirationSeconds", seconds, words)
    status, was = obj.get("status") or {}, old.get("status") or {}
    _conditions(errors, status.get("conditions") or [])
    certificate = status.get("certificate")
    if certificate and certificate != was.get("certificate"):
        complaint = _certificate_complaint(certificate)
        if complaint:
            errors.invalid("status.certificate", "<certificate data>", complaint)


def _decode(text: str) -> bytes:
    try:
        return base64.b64decode(text)
    except (binascii.Error, ValueError):
        return b""


def _request_complaint(text: str) -> str:
    pem = _decode(text)
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        return "PEM block type must be CERTIFICATE REQUEST"
    try:
        request = x509.load_pem_x509_csr(pem)
        good = request.is_signature_valid
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        return f"asn1: {err}"
    return "" if good else "crypto/rsa: verification error"


def _certificate_complaint(text: str) -> str:
    pem = _decode(text)
    start = pem.find(b"-----BEGIN ")
    if start < 0:
        return "must contain at least one CERTIFICATE PEM block"
    for kind in pem.split(b"-----BEGIN ")[1:]:
        name = kind.partition(b"-----")[0].decode(errors="replace")
        if name != "CERTIFICATE":
            return f'only CERTIFICATE PEM blocks are allowed, found "{name}"'
    try:
        x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        return f"x509: {err}"
    return ""


def _usages(errors: Errors, usages: list[str], before: list[str]) -> None:
    if not usages:
        errors.required("spec.usages")
    unknown_allowed = any(usage not in _USAGES for usage in before)
    doubles_allowed = len(set(before)) < len(before)
    for index, usage in enumerate(usages):
        if usage not in _USAGES and not unknown_allowed:
            errors.unsupported(f"spec.usages[{index}]", usage, _USAGES)
    for index, usage in enumerate(usages):
        if usage in usages[:index] and not doubles_allowed:
            errors.duplicate(f"spec.usages[{index}]", usage)


def signer_name(errors: Errors, signer: str, path: str) -> None:
    """Check the name of a signer: a domain and a path."""
    if not signer:
        errors.required(path)
        return
    domain, slash, name = signer.partition("/")
    if not slash or "/" in name:
        errors.invalid(path, signer, _SIGNER_FORM)
        return
    errors.all_invalid(path, domain, names.dns_subdomain(domain))
    if "." not in domain:
        errors.invalid(path, domain, "should be a domain with at least two segments separated by dots")
    errors.all_invalid(path, name, names.dns_subdomain(name))


def _conditions(errors: Errors, conditions: list[Object]) -> None:
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        path, kind = f"status.conditions[{index}]", condition.get("type") or ""
        if not kind:
            errors.required(f"{path}.type")
        supported = ("True",) if kind in _FINAL else ("False", "True", "Unknown")
        errors.one_of(f"{path}.status", condition.get("status"), supported)
        if kind in _DECIDED and seen & (set(_DECIDED) - {kind}):
            errors.invalid(f"{path}.type", kind, "Approved and Denied conditions are mutually exclusive")
        if kind in seen:
            errors.duplicate(f"{path}.type", kind)
        seen.add(kind)


def _changes(errors: Errors, obj: Object, old: Object, *, may_decide: bool, may_issue: bool) -> None:
    _check(errors, obj, old)
    now, was = obj.get("status") or {}, old.get("status") or {}
    for kind in _FINAL:
        had, has = ([one for one in status.get("conditions") or () if one.get("type") == kind] for status in (was, now))
        word = ""
        if len(has) < len(had):
            word = f'updates may not remove a condition of type "{kind}"'
        elif may_decide or kind not in _DECIDED:
            continue
        elif len(has) > len(had):
            word = f'updates may not add a condition of type "{kind}"'
        elif not is_equal(had, has):
            word = f'updates may not modify a condition of type "{kind}"\n{format_diff(had, has)}'
        if word:
            errors.forbidden("status.conditions", word)
    if (now.get("certificate") or "") != (was.get("certificate") or ""):
        if not may_issue:
            errors.forbidden("status.certificate", "updates may not set certificate content")
        elif was.get("certificate"):
            errors.forbidden("status.certificate", "updates may not modify existing certificate content")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change through the request itself."""
    _changes(errors, obj, old, may_decide=False, may_issue=False)


def status(errors: Errors, obj: Object, old: Object) -> None:
    """Check a signer's change."""
    _changes(errors, obj, old, may_decide=False, may_issue=True)


def approval(errors: Errors, obj: Object, old: Object) -> None:
    """Check an approver's change."""
    _changes(errors, obj, old, may_decide=True, may_issue=False)


RULES: Mapping[tuple[str, str], Rules] = {
    ("certificates.k8s.io", "CertificateSigningRequest"): Rules(
        create, update, status, subresources={"approval": approval}, name=names.name_is_anything
    ),
}
