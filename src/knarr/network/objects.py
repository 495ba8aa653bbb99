"""What the network of nodes needs the API to hold: the `kube-dns` Service that users know, and leave for nodes to read what is served.

The DNS server listens on the Service's address itself, on every node; so the address is its own endpoint, and the proxy leaves it alone.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from knarr.api import errors
from knarr.client import Client

NAMESPACE = "kube-system"
SERVICE = "kube-dns"
ROLE = "knarr-node-network"

Object = dict[str, Any]


async def ensure(client: Client, *, dns_address: str) -> None:
    """Create what is missing; what users changed stays as they have it.

    Args:
        client: May create roles.
        dns_address: Where cluster DNS listens.
    """
    for obj in plan_objects(dns_address):
        if not await _exists(client, obj):
            with contextlib.suppress(errors.AlreadyExists):
                await client.create(obj)


async def _exists(client: Client, obj: Object) -> bool:
    meta = obj["metadata"]
    try:
        await client.get(client.kinds.of_object(obj), meta["name"], namespace=meta.get("namespace", ""))
    except errors.NotFound:
        return False
    return True


def plan_objects(dns_address: str) -> Iterator[Object]:
    """Yield the objects, each after those that it refers to."""
    ports = [("dns", "UDP"), ("dns-tcp", "TCP")]
    numbered = [{"name": name, "port": 53, "protocol": protocol} for name, protocol in ports]
    labels = {"k8s-app": SERVICE, "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE},
        "rules": [
            {"apiGroups": [""], "resources": ["services", "namespaces", "nodes"], "verbs": ["list", "watch"]},
            {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
        ],
    }
    yield {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": ROLE},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    }
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": SERVICE, "namespace": NAMESPACE, "labels": labels},
        "spec": {"clusterIP": dns_address, "ports": [{**port, "targetPort": 53} for port in numbered]},
    }
    yield {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {**labels, "endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": dns_address}], "ports": numbered}],
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": SERVICE,
            "namespace": NAMESPACE,
            "labels": {
                **labels,
                "kubernetes.io/service-name": SERVICE,
                "endpointslice.kubernetes.io/managed-by": "knarr",
            },
        },
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [dns_address], "conditions": {"ready": True, "serving": True, "terminating": False}}
        ],
        "ports": numbered,
    }
