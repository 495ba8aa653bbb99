"""Nodes' certificates are approved without a person, if the one who asks may have them.

- `kubernetes.io/kube-apiserver-client-kubelet`: who asks for the client certificate of a node must be allowed to create
  `certificatesigningrequests/nodeclient` (a node that joins) or `/selfnodeclient` (its own, renewed), as upstream.
- `kubernetes.io/kubelet-serving`: upstream leaves these to people or other software; here a node gets one for itself: it asks as itself,
  every DNS name is its own or localhost, and every address is its Node's or loopback. While its Node does not exist yet, as the
  first thing of a machine that joins, an address is enough that belongs to no other Node and not to the API server.
  Anything else stays pending for a person.

Upstream counterpart: pkg/controller/certificates/approver (v1.37).
"""

import ipaddress
import logging
from collections.abc import Iterable
from typing import Any

from lightkube.models import authorization_v1, certificates_v1, core_v1, discovery_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.control import Context, informer, loop
from knarr.controllers import csr

REASON = "AutoApproved"
_GROUP = "certificates.k8s.io"
_LABEL = "kubernetes.io/service-name"

logger = logging.getLogger(__name__)


class Reconciler:
    """Approves one request, if it may.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._requests = context.informers.of(certificates_v1.CertificateSigningRequest)
        self._nodes = context.informers.of(core_v1.Node)
        self._slices = context.informers.of(discovery_v1.EndpointSlice)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Look at a request and approve it or leave it alone."""
        obj = self._requests.get("", request.name)
        if obj is None or csr.is_issued(obj) or csr.has_condition(obj, csr.APPROVED, csr.DENIED):
            return loop.Result()
        wanted = csr.read(obj)
        if wanted is None:
            return loop.Result()
        if obj.spec.signerName == csr.KUBELET_CLIENT:
            await self._client_certificate(obj, wanted)
        elif obj.spec.signerName == csr.KUBELET_SERVING:
            await self._serving_certificate(obj, wanted)
        return loop.Result()

    def pending(self, _: core_v1.Node) -> list[loop.Request]:
        """Return the serving requests that a change of a node may decide."""
        return [
            loop.Request(*informer.key_of(one))
            for one in self._requests.list()
            if one.spec.signerName == csr.KUBELET_SERVING and not csr.has_condition(one, csr.APPROVED, csr.DENIED)
        ]

    async def _client_certificate(self, obj: csr.Request, wanted: csr.Wanted) -> None:
        if csr.kubelet_client_problem(wanted, obj.spec.usages):
            return
        tried = []
        if wanted.common_name == obj.spec.username:
            tried.append(
                ("selfnodeclient", "Auto approving self kubelet client certificate after SubjectAccessReview.")
            )
        tried.append(("nodeclient", "Auto approving kubelet client certificate after SubjectAccessReview."))
        for subresource, message in tried:
            if await self._may(obj, subresource):
                await self._approve(obj, message)
                return
        _, name = informer.key_of(obj)
        why = f'recognized csr "{name}" as a node\'s but subject access review was not approved'
        raise errors.Forbidden(_GROUP, "certificatesigningrequests", name, why)  # tried again: rights change

    async def _serving_certificate(self, obj: csr.Request, wanted: csr.Wanted) -> None:
        username = obj.spec.username or ""
        if csr.kubelet_serving_problem(wanted, obj.spec.usages, username) or csr.NODES_GROUP not in (
            obj.spec.groups or ()
        ):
            return
        problem = serving_problem(wanted, self._nodes.list(), self._server_addresses())
        if problem:
            logger.info("%s asks for a serving certificate that is not its own: %s", username, problem)
            return
        await self._approve(obj, "Auto approving kubelet serving certificate for the node's own names and addresses.")

    def _server_addresses(self) -> set[str]:
        slices = [one for one in self._slices.list("default") if _labels(one).get(_LABEL) == "kubernetes"]
        return {address for one in slices for endpoint in one.endpoints or () for address in endpoint.addresses}

    async def _may(self, obj: csr.Request, subresource: str) -> bool:
        spec = authorization_v1.SubjectAccessReviewSpec(
            user=obj.spec.username,
            uid=obj.spec.uid,
            groups=obj.spec.groups,
            extra=obj.spec.extra,
            resourceAttributes=authorization_v1.ResourceAttributes(
                group=_GROUP, resource="certificatesigningrequests", verb="create", subresource=subresource, version="*"
            ),
        )
        review = await self._client.create(authorization_v1.SubjectAccessReview(spec=spec))
        return bool(review.status and review.status.allowed)

    async def _approve(self, obj: csr.Request, message: str) -> None:
        now = self._clock.now()
        condition = certificates_v1.CertificateSigningRequestCondition(
            type=csr.APPROVED, status="True", reason=REASON, message=message, lastUpdateTime=now, lastTransitionTime=now
        )
        status = obj.status or certificates_v1.CertificateSigningRequestStatus()
        approved = replace(obj, status=replace(status, conditions=[*(status.conditions or ()), condition]))
        await self._client.update(approved, subresource="approval")


def serving_problem(wanted: csr.Wanted, nodes: Iterable[core_v1.Node], server: set[str]) -> str:
    """Return which name or address is not the node's own; empty if all are.

    Args:
        wanted: The request.
        nodes: All there are.
        server: The addresses of the API server.
    """
    addresses = {informer.key_of(node)[1]: _addresses(node) for node in nodes}
    own = addresses.get(wanted.node)
    foreign = {address for name, listed in addresses.items() if name != wanted.node for address in listed}
    for name in wanted.dns_names:
        if (
            name not in {wanted.node, "localhost", *(own or ())}
            or name in foreign
            or (name != wanted.node and name in addresses)
        ):
            return f"{name!r} is not a name of node {wanted.node!r}"
    for address in wanted.ip_addresses:
        if ipaddress.ip_address(address).is_loopback:
            continue
        is_own = address in own if own is not None else address not in server
        if not is_own or address in foreign:
            return f"{address} is not an address of node {wanted.node!r}"
    return ""


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("csrapproving", reconciler, context)
    controller.watch(certificates_v1.CertificateSigningRequest, loop.itself)
    controller.watch(core_v1.Node, reconciler.pending)
    return controller


def _addresses(node: core_v1.Node) -> set[str]:
    return {one.address for one in (node.status.addresses or ())} if node.status else set()


def _labels(obj: Any) -> dict[str, str]:
    return (obj.metadata.labels or {}) if obj.metadata else {}
