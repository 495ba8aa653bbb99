"""What every cluster has from its first moment: namespaces, priority classes, the `kubernetes` Service and its endpoints.

Source: pkg/controlplane/controller/{systemnamespaces,kubernetesservice,defaultservicecidr,clusterauthenticationtrust},
pkg/apis/scheduling/helpers.go (v1.37).
"""

import ipaddress
from collections.abc import Collection
from typing import Any

from knarr.api import errors
from knarr.apiserver.authz import bootstrap as rbac
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "default")
PRIORITIES = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}
_PRIORITY_WORDS = {
    "system-node-critical": "Used for system critical pods that must not be moved from their current node.",
    "system-cluster-critical": "Used for system critical pods that must run in the cluster, but can be moved to another node "
    "if necessary.",
}
SERVICE = "kubernetes"
KEEP_S = 60.0
_SLICE_LABEL = "kubernetes.io/service-name"


async def ensure_objects(parts: Parts) -> None:
    """Make what is missing of the objects that do not depend on where this server listens."""
    for name in NAMESPACES:
        await _ensure(parts, "namespaces", _namespace(name))
    await rbac.reconcile(parts.registry, now=parts.clock.now())
    for name, value in PRIORITIES.items():
        await _ensure(parts, "priorityclasses.scheduling.k8s.io", _priority_class(name, value))
    await _ensure(parts, "configmaps", _authentication(parts), update=True)
    await _ensure(parts, "configmaps", _token_tracking(parts))
    if parts.scheme.find("networking.k8s.io", "v1", "servicecidrs") is not None:
        await _ensure(parts, "servicecidrs.networking.k8s.io", _service_cidr(parts))


async def ensure_service(parts: Parts, port: int) -> None:
    """Make the `kubernetes` Service.

    Args:
        parts: The server's parts.
        port: Where clients reach a server at its advertised address.
    """
    await _ensure(parts, "services", _service(parts, port))


async def ensure_endpoints(parts: Parts, port: int, addresses: Collection[str]) -> None:
    """Point the `kubernetes` Service at servers.

    Args:
        parts: The server's parts.
        port: Where clients reach each of them.
        addresses: Those that live.
    """
    ordered = sorted(addresses)
    await _ensure(parts, "endpoints", _endpoints(ordered, port), update=True)
    await _ensure(parts, "endpointslices.discovery.k8s.io", _slice(ordered, port), update=True)


async def keep(parts: Parts, port: int) -> None:
    """Make again, once a minute, what somebody has deleted or changed of what a cluster cannot do without.

    Args:
        parts: The server's parts.
        port: Where clients reach this server at the advertised address.
    """
    while True:
        await parts.clock.sleep(KEEP_S)
        for name in NAMESPACES:
            await _ensure(parts, "namespaces", _namespace(name))
        await _ensure(parts, "configmaps", _authentication(parts), update=True)
        await ensure_service(parts, port)
        if not parts.config.is_shared:  # otherwise the servers keep them together
            await ensure_endpoints(parts, port, [parts.config.advertise_address])


async def _ensure(parts: Parts, resource: str, wanted: Object, *, update: bool = False) -> None:
    """Create an object, or with `update` bring all but the metadata of the one that is there up to date."""
    found = parts.registry.resource(resource)
    metadata = wanted["metadata"]
    namespace, name = metadata.get("namespace", ""), metadata["name"]
    current = parts.registry.get(found, namespace, name)
    if current is None:
        metadata["uid"], metadata["creationTimestamp"] = new_uid(parts.random), parts.now()
        kind: Object = {"kind": found.kind, "apiVersion": found.api_version}
        try:
            await parts.registry.create(found, {**kind, **wanted})
        except errors.AlreadyExists:
            return  # another server was faster
        return
    changed = {key: value for key, value in wanted.items() if key != "metadata"}
    if update and any(current.get(key) != value for key, value in changed.items()):
        try:
            await parts.registry.update(found, {**current, **changed})
        except (errors.Conflict, errors.NotFound):
            return


def _namespace(name: str) -> Object:
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _priority_class(name: str, value: int) -> Object:
    return {
        "metadata": {"name": name, "generation": 1},
        "value": value,
        "description": _PRIORITY_WORDS[name],
        "preemptionPolicy": "PreemptLowerPriority",
    }


def _authentication(parts: Parts) -> Object:
    """Return what extension API servers need to check who calls them."""
    config, data = parts.config, {}
    if config.client_ca is not None:
        data["client-ca-file"] = config.client_ca.read_text()
    if config.front_proxy_ca is not None:
        data["requestheader-client-ca-file"] = config.front_proxy_ca.read_text()
        data["requestheader-allowed-names"] = '["front-proxy-client"]'
        data["requestheader-extra-headers-prefix"] = '["X-Remote-Extra-"]'
        data["requestheader-group-headers"] = '["X-Remote-Group"]'
        data["requestheader-username-headers"] = '["X-Remote-User"]'
        data["requestheader-uid-headers"] = '["X-Remote-Uid"]'
    found: Object = {"metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"}}
    return {**found, "data": data} if data else found


def _token_tracking(parts: Parts) -> Object:
    """Return the note of since when the use of service account tokens in Secrets is recorded."""
    name = "kube-apiserver-legacy-service-account-token-tracking"
    return {"metadata": {"name": name, "namespace": "kube-system"}, "data": {"since": parts.now()[:10]}}


def _service_cidr(parts: Parts) -> Object:
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "",
        "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": parts.now(),
    }
    return {
        "metadata": {"name": SERVICE, "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": list(parts.config.service_cidrs)},
        "status": {"conditions": [ready]},
    }


def _service(parts: Parts, port: int) -> Object:
    address = parts.config.service_address
    family = "IPv4" if ipaddress.ip_address(address).version == 4 else "IPv6"
    return {
        "metadata": {
            "name": SERVICE,
            "namespace": "default",
            "labels": {"component": "apiserver", "provider": SERVICE},
        },
        "spec": {
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "clusterIP": address,
            "clusterIPs": [address],
            "type": "ClusterIP",
            "sessionAffinity": "None",
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "internalTrafficPolicy": "Cluster",
        },
        "status": {"loadBalancer": {}},
    }


def _endpoints(addresses: list[str], port: int) -> Object:
    subset = {
        "addresses": [{"ip": address} for address in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
    labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
    return {"metadata": {"name": SERVICE, "namespace": "default", "labels": labels}, "subsets": [subset]}


def _slice(addresses: list[str], port: int) -> Object:
    return {
        "metadata": {"name": SERVICE, "namespace": "default", "labels": {_SLICE_LABEL: SERVICE}, "generation": 1},
        "addressType": "IPv4" if ipaddress.ip_address(addresses[0]).version == 4 else "IPv6",
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
        "ports": [{"name": "https", "protocol": "TCP", "port": port}],
    }
