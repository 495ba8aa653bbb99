"""How another machine comes to its certificates with nothing but the server's address and a bootstrap token.

The server's authority is read from the ConfigMap `kube-public/cluster-info` over a connection that nothing vouches for yet; that it is
genuine shows in its signature, which only who knows the token's secret half can make, and in the hash of the authority's key, if one
was handed over with the token. From then on all is ordinary: a CertificateSigningRequest for the node's client certificate, made with
the token, and with that certificate another one for its serving certificate. Both are approved by the controller `csrapproving`
(see there who gets what), and signed by `csrsigning`.

Upstream counterpart: kubeadm join (cmd/kubeadm/app/discovery/token), kubelet's TLS bootstrap (pkg/kubelet/certificate/bootstrap) (v1.37).
"""

import base64
import binascii
import contextlib
import datetime
import hmac
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightkube.models import certificates_v1, core_v1, meta_v1

from knarr.api import errors as api_errors
from knarr.client import Client, transport
from knarr.client.credentials import Token
from knarr.cluster.errors import ClusterError, UsageError, WaitTimeout
from knarr.cluster.settings import Facts
from knarr.cluster.tokens import JOIN_GROUP
from knarr.controllers import bootstrapsigner, bootstraptokens, csr
from knarr.kit import clock as clocks
from knarr.kit import pki

POLL_S = 1.0
TIMEOUT_S = 300.0
NAMESPACE, CONFIG = "kube-system", "kubeadm-config"
SERVING_APPROVER = "knarr-kubelet-serving-approver"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_RBAC = "rbac.authorization.k8s.io"
_CLIENT_USAGES = ["digital signature", "client auth"]
_SERVING_USAGES = ["digital signature", "server auth"]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """Who joins.

    Attributes:
        name: The node's name.
        addresses: Where its agent will serve.
    """

    name: str
    addresses: tuple[str, ...]


async def join(
    url: str,
    token: str,
    node: Node,
    folder: Path,
    *,
    ca_hash: str = "",
    clock: clocks.Clock | None = None,
    timeout_s: float = TIMEOUT_S,
) -> None:
    """Get a node's certificates and write them: `ca.crt`, `client.crt`, `client.key`, `serving.crt` and `serving.key`.

    Args:
        url: The API server's, "https://host:port".
        token: A bootstrap token, "id.secret".
        node: Who joins.
        folder: The agent's; it exists.
        ca_hash: "sha256:…" of the authority's key, as `knarr token create` shows it; empty trusts the token alone.
        clock: The time.
        timeout_s: How long to wait for each certificate.

    Raises:
        UsageError: The token or the hash does not look like one.
        ClusterError: The server is not the one that the token is of.
        WaitTimeout: A certificate was not approved and signed in time.
        Unreachable: Nobody answers there.
    """
    clock = clock or clocks.SystemClock()
    authority = await discover(url, token, ca_hash=ca_hash)
    pki.write_file(folder / "ca.crt", authority, mode=0o644)
    async with open_with_token(url, token, authority) as client:
        await _check_name(client, node.name, url)
        pair = await request_certificate(
            client, csr.KUBELET_CLIENT, client_subject(node), clock=clock, timeout_s=timeout_s
        )
    pki.write_pair(pair, folder / "client.crt", folder / "client.key")
    async with open_node(url, folder) as as_node:
        pair = await request_certificate(
            as_node, csr.KUBELET_SERVING, serving_subject(node), clock=clock, timeout_s=timeout_s
        )
    pki.write_pair(pair, folder / "serving.crt", folder / "serving.key")


async def renew(client: Client, node: Node, folder: Path, *, now: datetime.datetime, clock: clocks.Clock) -> bool:
    """Get new certificates in the place of those that end soon or are not for the node's addresses.

    Args:
        client: The node's own.
        node: Whose they are.
        folder: Where they are, as `join` wrote them.
        now: The present.
        clock: Times the waiting.

    Returns:
        Whether there was anything to renew.

    Raises:
        ClusterError: A request was refused.
        WaitTimeout: A certificate was not approved and signed in time.
    """
    names = (
        (csr.KUBELET_CLIENT, "client", client_subject(node)),
        (csr.KUBELET_SERVING, "serving", serving_subject(node)),
    )
    is_any = False
    for signer, stem, subject in names:
        certificate, key = folder / f"{stem}.crt", folder / f"{stem}.key"
        pair = pki.load_pair(certificate, key)
        if pair is None or pki.is_due(pair.certificate, now=now, subject=subject):
            pki.write_pair(await request_certificate(client, signer, subject, clock=clock), certificate, key)
            is_any = True
    return is_any


@contextlib.asynccontextmanager
async def open_with_token(url: str, token: str, authority: bytes) -> AsyncIterator[Client]:
    """Talk to an API server as the one who has a bootstrap token.

    Args:
        url: The API server's.
        token: The token.
        authority: What signed its certificate, PEM.
    """
    trusted = ssl.create_default_context(cadata=authority.decode())
    way = transport.HttpsTransport(url, credentials=Token(token), tls=trusted)
    try:
        yield Client(way)
    finally:
        await way.aclose()


@contextlib.asynccontextmanager
async def open_node(url: str, folder: Path) -> AsyncIterator[Client]:
    """Talk to an API server as the node whose certificates are in a folder."""
    files = {"ca_file": folder / "ca.crt", "certificate_file": folder / "client.crt", "key_file": folder / "client.key"}
    async with transport.open_https(url, **files) as as_node:
        yield Client(as_node)


def client_subject(node: Node) -> pki.Subject:
    """Return whom a node's client certificate names."""
    return pki.Subject(f"{csr.NODE_PREFIX}{node.name}", (csr.NODES_GROUP,))


def serving_subject(node: Node) -> pki.Subject:
    """Return whom a node's serving certificate names."""
    addresses = tuple(dict.fromkeys(("127.0.0.1", *node.addresses)))
    names = (node.name, "localhost")
    return pki.Subject(f"{csr.NODE_PREFIX}{node.name}", (csr.NODES_GROUP,), dns_names=names, ip_addresses=addresses)


async def _check_name(client: Client, name: str, url: str) -> None:
    try:
        found = await client.get(core_v1.Node, name)
    except (
        api_errors.NotFound,
        api_errors.Forbidden,
    ):  # a cluster that does not let us look: kubeadm looks no further, either
        return
    conditions = (found.status.conditions or ()) if found.status else ()
    if any(condition.type == "Ready" and condition.status == "True" for condition in conditions):
        raise ClusterError(
            f'a Node with name "{name}" and status "Ready" already exists in the cluster at {url}; '
            "delete it or choose another name: `--node-name`"
        )


async def discover(url: str, token: str, *, ca_hash: str = "") -> bytes:
    """Return the certificates, PEM, of the authority that a token vouches for.

    Raises:
        UsageError: The token or the hash does not look like one.
        ClusterError: What the server says is not signed with the token, or its key has another hash.
    """
    match = _TOKEN.fullmatch(token)
    if match is None:
        raise UsageError("the token does not look like one: expected six characters, a dot and sixteen characters")
    if ca_hash and not _HASH.fullmatch(ca_hash):
        raise UsageError(f"{ca_hash!r}: expected sha256: and 64 hexadecimal digits")
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    way = transport.HttpsTransport(url, tls=unverified)
    try:
        info = await Client(way).get(core_v1.ConfigMap, bootstrapsigner.NAME, namespace=bootstrapsigner.NAMESPACE)
    except api_errors.Forbidden as err:
        raise ClusterError(f"{url} does not show its cluster-info: {err}") from err
    except api_errors.NotFound as err:
        raise ClusterError(f"{url} has no cluster-info: it is no server that machines can join") from err
    finally:
        await way.aclose()
    return verify(info.data or {}, bootstraptokens.Token(match[1], match[2]), url=url, ca_hash=ca_hash)


def verify(data: dict[str, str], token: bootstraptokens.Token, *, url: str, ca_hash: str = "") -> bytes:
    """Return the authority in the data of a cluster-info, if the token signed it and the hash is right.

    Raises:
        ClusterError: They did not.
    """
    content = data.get(bootstrapsigner.KUBECONFIG, "")
    given = data.get(bootstrapsigner.PREFIX + token.id, "")
    if not given:
        raise ClusterError(
            f"token {token.id} is not known at {url}, or it has expired: make another with `knarr token create`"
        )
    if not hmac.compare_digest(given.encode(), bootstrapsigner.sign(content, token).encode()):
        raise ClusterError(f"{url} does not know the token's secret: it is not the server that the token is of")
    try:
        cluster = yaml.safe_load(content)["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"])
        found = pki.certificate_hash(authority)
    except (yaml.YAMLError, KeyError, IndexError, TypeError, ValueError, binascii.Error) as err:
        raise ClusterError(f"the cluster-info of {url} is damaged: {err}") from err
    if ca_hash and not hmac.compare_digest(found, ca_hash):
        raise ClusterError(f"the authority of {url} has the hash {found}, expected {ca_hash}: it is another server")
    return authority


async def request_certificate(
    client: Client, signer: str, subject: pki.Subject, *, clock: clocks.Clock, timeout_s: float = TIMEOUT_S
) -> pki.KeyPair:
    """Ask for a certificate and wait until it is issued.

    Raises:
        ClusterError: It is denied, or cannot be signed.
        WaitTimeout: Nobody approves or signs it in time.
    """
    key = pki.new_signing_key()
    usages = _SERVING_USAGES if signer == csr.KUBELET_SERVING else _CLIENT_USAGES
    spec = certificates_v1.CertificateSigningRequestSpec(
        request=base64.b64encode(pki.new_request(key, subject)).decode(), signerName=signer, usages=usages
    )
    prefix = "csr-" if signer == csr.KUBELET_SERVING else "node-csr-"
    meta = meta_v1.ObjectMeta(generateName=prefix)
    made = await client.create(certificates_v1.CertificateSigningRequest(metadata=meta, spec=spec))
    assert made.metadata is not None
    name = made.metadata.name or ""
    end_s = clock.monotonic_s() + timeout_s
    while True:
        found = await client.get(certificates_v1.CertificateSigningRequest, name)
        if found.status and found.status.certificate:
            return pki.KeyPair(base64.b64decode(found.status.certificate), key)
        for condition in (found.status.conditions or ()) if found.status else ():
            if condition.type in (csr.DENIED, csr.FAILED):
                raise ClusterError(f"certificate request {name} was refused: {condition.message or condition.reason}")
        if clock.monotonic_s() >= end_s:
            raise WaitTimeout(
                f"certificate request {name} was not approved in time: `kubectl certificate approve {name}`"
            )
        await clock.sleep(POLL_S)


async def read_facts(client: Client) -> Facts:
    """Read what a node must know of its cluster.

    Raises:
        ClusterError: It is not there, or not readable.
    """
    try:
        found = await client.get(core_v1.ConfigMap, CONFIG, namespace=NAMESPACE)
        networking = yaml.safe_load((found.data or {})["ClusterConfiguration"])["networking"]
        return Facts(str(networking["podSubnet"]), str(networking["serviceSubnet"]), str(networking["dnsDomain"]))
    except (api_errors.StatusError, yaml.YAMLError, KeyError, TypeError) as err:
        raise ClusterError(f"the cluster does not say what its addresses are ({NAMESPACE}/{CONFIG}): {err}") from err


async def ensure_objects(client: Client, *, url: str, authority: bytes, facts: Facts | None = None) -> None:
    """Create what joining needs and is missing; what users changed stays as they have it.

    Args:
        client: An administrator's.
        url: Where other machines reach the API server.
        authority: Its certificate, PEM.
        facts: What nodes must know of the cluster; None tells them nothing.
    """
    for obj in plan_objects(url, authority, facts):
        with contextlib.suppress(api_errors.AlreadyExists):
            await client.create(obj)


def plan_objects(url: str, authority: bytes, facts: Facts | None = None) -> Iterator[Object]:
    """Yield the objects, under the names that kubeadm gives them; only the approval of serving certificates is our own."""
    nodes, joining = {"kind": "Group", "name": csr.NODES_GROUP}, {"kind": "Group", "name": JOIN_GROUP}
    approvals = "system:certificates.k8s.io:certificatesigningrequests"
    yield _binding("ClusterRole", "kubeadm:kubelet-bootstrap", "system:node-bootstrapper", joining)
    yield _binding("ClusterRole", "kubeadm:node-autoapprove-bootstrap", f"{approvals}:nodeclient", joining)
    yield _binding("ClusterRole", "kubeadm:node-autoapprove-certificate-rotation", f"{approvals}:selfnodeclient", nodes)
    approve = {
        "apiGroups": ["certificates.k8s.io"],
        "resources": ["signers"],
        "resourceNames": [csr.KUBELET_SERVING],
        "verbs": ["approve"],
    }
    yield _role("ClusterRole", SERVING_APPROVER, approve)
    controller = {"kind": "ServiceAccount", "name": "certificate-controller", "namespace": "kube-system"}
    yield _binding("ClusterRole", SERVING_APPROVER, SERVING_APPROVER, controller)
    name = "kubeadm:bootstrap-signer-clusterinfo"
    look = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [bootstrapsigner.NAME], "verbs": ["get"]}
    public = bootstrapsigner.NAMESPACE
    yield _role("Role", name, look, namespace=public)
    yield _binding("Role", name, name, {"kind": "User", "name": "system:anonymous"}, namespace=public)
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": bootstrapsigner.NAME, "namespace": public},
        "data": {bootstrapsigner.KUBECONFIG: cluster_info(url, authority)},
    }
    if facts is not None:
        yield from _plan_config(facts, nodes, joining)


def _plan_config(facts: Facts, nodes: Object, joining: Object) -> Iterator[Object]:
    """Yield what kubeadm keeps about a cluster, with the parts that a node needs; other programs read it, too."""
    name = "kubeadm:nodes-kubeadm-config"
    look = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [CONFIG], "verbs": ["get"]}
    yield _role("Role", name, look, namespace=NAMESPACE)
    yield _binding("Role", name, name, nodes, joining, namespace=NAMESPACE)
    config = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "networking": {
            "dnsDomain": facts.domain,
            "podSubnet": facts.pod_cidr,
            "serviceSubnet": facts.service_cidr,
        },
    }
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG, "namespace": NAMESPACE},
        "data": {"ClusterConfiguration": str(yaml.safe_dump(config))},
    }
    name = "kubeadm:kubeadm-certs"
    look = {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["kubeadm-certs"], "verbs": ["get"]}
    yield _role("Role", name, look, namespace=NAMESPACE)
    yield _binding("Role", name, name, joining, namespace=NAMESPACE)
    # Who joins looks first whether another machine has the name.
    look = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}
    yield _role("ClusterRole", "kubeadm:get-nodes", look)
    yield _binding("ClusterRole", "kubeadm:get-nodes", "kubeadm:get-nodes", joining)


def cluster_info(url: str, authority: bytes) -> str:
    """Return the kubeconfig in a cluster-info: a server and its authority, and nothing that is secret."""
    cluster = {"certificate-authority-data": base64.b64encode(authority).decode(), "server": url}
    config: Object = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"cluster": cluster, "name": ""}],
        "contexts": None,
        "current-context": "",
        "preferences": {},
        "users": None,
    }
    return str(yaml.safe_dump(config))


def _role(kind: str, name: str, rule: Object, *, namespace: str = "") -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": metadata, "rules": [rule]}


def _binding(kind: str, name: str, role: str, *subjects: Object, namespace: str = "") -> Object:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    who = [one if one["kind"] == "ServiceAccount" else {**one, "apiGroup": _RBAC} for one in subjects]
    reference = {"apiGroup": _RBAC, "kind": kind, "name": role}
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": metadata,
        "roleRef": reference,
        "subjects": who,
    }
