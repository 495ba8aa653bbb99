"""What certificate signing requests ask for: the part that the controllers for approval and signing share.

Source: k8s.io/kubernetes/pkg/apis/certificates/helpers.go (v1.37).
"""

import base64
import binascii
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID
from lightkube.models import certificates_v1

CLIENT = "kubernetes.io/kube-apiserver-client"
KUBELET_CLIENT = "kubernetes.io/kube-apiserver-client-kubelet"
KUBELET_SERVING = "kubernetes.io/kubelet-serving"
LEGACY = "kubernetes.io/legacy-unknown"
SIGNERS = (KUBELET_SERVING, KUBELET_CLIENT, CLIENT, LEGACY)

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
NODES_GROUP, NODE_PREFIX = "system:nodes", "system:node:"
_CLIENT_USAGES = {"client auth", "digital signature"}
_SERVER_USAGES = {"server auth", "digital signature"}
_ENCIPHERMENT = "key encipherment"

Request = certificates_v1.CertificateSigningRequest


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a PKCS#10 request says.

    Attributes:
        common_name: Of the subject.
        organizations: Of the subject.
        dns_names: Alternative names.
        ip_addresses: Likewise.
        others: Email addresses and URIs, likewise.
        request: The request itself.
    """

    common_name: str
    organizations: tuple[str, ...]
    dns_names: tuple[str, ...]
    ip_addresses: tuple[str, ...]
    others: tuple[str, ...]
    request: x509.CertificateSigningRequest

    @property
    def node(self) -> str:
        """The node that the subject names; empty if none."""
        is_node = self.organizations == (NODES_GROUP,) and self.common_name.startswith(NODE_PREFIX)
        return self.common_name.removeprefix(NODE_PREFIX) if is_node else ""


def read(obj: Request) -> Wanted | None:
    """Return what a request says, or None if it makes no sense or is not signed with its own key."""
    try:
        request = x509.load_pem_x509_csr(base64.b64decode(obj.spec.request or ""))
        if not request.is_signature_valid:
            return None
        names = _names(request)
    except (ValueError, TypeError, binascii.Error):
        return None
    subject = request.subject
    common = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    groups = tuple(str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME))
    if names is None:
        return Wanted(common[-1] if common else "", groups, (), (), (), request)
    others = [*names.get_values_for_type(x509.RFC822Name), *names.get_values_for_type(x509.UniformResourceIdentifier)]
    return Wanted(
        common[-1] if common else "",
        groups,
        tuple(names.get_values_for_type(x509.DNSName)),
        tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        tuple(others),
        request,
    )


def has_condition(obj: Request, *types: str) -> bool:
    """Return whether a request has a condition of one of these types."""
    conditions = (obj.status.conditions if obj.status else None) or ()
    return any(one.type in types for one in conditions)


def is_issued(obj: Request) -> bool:
    """Return whether a request has its certificate."""
    return bool(obj.status and obj.status.certificate)


def kubelet_client_problem(wanted: Wanted, usages: list[str] | None) -> str:
    """Return why this is no request for a node's client certificate; empty if it is one."""
    if wanted.organizations != (NODES_GROUP,):
        return f"subject organization is not {NODES_GROUP}"
    if wanted.dns_names or wanted.ip_addresses or wanted.others:
        return "DNS, IP, email and URI subjectAltNames are not allowed"
    if not wanted.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    if not _fits(usages, _CLIENT_USAGES):
        return f"usages did not match {_shown(_CLIENT_USAGES)}"
    return ""


def kubelet_serving_problem(wanted: Wanted, usages: list[str] | None, username: str) -> str:
    """Return why this is no request of a node for its serving certificate; empty if it is one."""
    if wanted.organizations != (NODES_GROUP,):
        return f"subject organization is not {NODES_GROUP}"
    if not wanted.dns_names and not wanted.ip_addresses:
        return "DNS or IP subjectAltName is required"
    if wanted.others:
        return "email and URI subjectAltNames are not allowed"
    if not _fits(usages, _SERVER_USAGES):
        return f"usages did not match {_shown(_SERVER_USAGES)}"
    if not wanted.common_name.startswith(NODE_PREFIX):
        return f"subject common name does not begin with {NODE_PREFIX}"
    if wanted.common_name != username:
        return "requested serving certificate is for another user than the one who asks"
    return ""


def client_problem(usages: list[str] | None) -> str:
    """Return why this is no request for a client certificate; empty if it is one."""
    given = set(usages or ())
    if "client auth" not in given or not given <= {*_CLIENT_USAGES, _ENCIPHERMENT}:
        return f"usages did not match {_shown(_CLIENT_USAGES)}"
    return ""


def _names(request: x509.CertificateSigningRequest) -> x509.SubjectAlternativeName | None:
    try:
        return request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None


def _fits(usages: list[str] | None, wanted: set[str]) -> bool:
    given = usages or []
    return len(set(given)) == len(given) and set(given) - {_ENCIPHERMENT} == wanted


def _shown(usages: set[str]) -> str:
    return f"[{' '.join(sorted(usages))}]"
