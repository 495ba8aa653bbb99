"""Services, endpoints and network objects.

Source: k8s.io/kubernetes/pkg/apis/{core,discovery,networking}/v1/defaults.go (v1.37).
"""

from typing import Any

Object = dict[str, Any]

AFFINITY_TIMEOUT_S = 10800


def service(obj: Object) -> None:
    """Set the static defaults of a Service; addresses, node ports and IP families are allocated later."""
    spec = obj.setdefault("spec", {})
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    _session_affinity(spec)
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if not port.get("targetPort"):
            port["targetPort"] = port.get("port", 0)
    kind = spec["type"]
    is_external = kind in {"LoadBalancer", "NodePort"} or (kind == "ClusterIP" and spec.get("externalIPs"))
    if is_external and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec.get("internalTrafficPolicy") is None and kind in {"NodePort", "LoadBalancer", "ClusterIP"}:
        spec["internalTrafficPolicy"] = "Cluster"
    if kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    balancer = load_balancer_status(obj)
    if kind == "LoadBalancer":
        for ingress in balancer.get("ingress") or ():
            if ingress.get("ip") and ingress.get("ipMode") is None:
                ingress["ipMode"] = "VIP"


def load_balancer_status(obj: Object) -> Object:
    """Return `status.loadBalancer` of a Service or an Ingress, which Go always writes, making it if absent."""
    status: Object = obj.setdefault("status", {})
    balancer: Object = status.setdefault("loadBalancer", {})
    return balancer


def ingress(obj: Object) -> None:
    """Set the defaults of an Ingress."""
    load_balancer_status(obj)


def _session_affinity(spec: Object) -> None:
    affinity = spec.get("sessionAffinity")
    if not affinity:
        affinity = spec["sessionAffinity"] = "None"
    if affinity == "None":
        spec.pop("sessionAffinityConfig", None)
    elif affinity == "ClientIP":
        client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": AFFINITY_TIMEOUT_S}}


def endpoints(obj: Object) -> None:
    """Set the defaults of an Endpoints."""
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def endpoint_slice(obj: Object) -> None:
    """Set the defaults of an EndpointSlice."""
    for port in obj.get("ports") or ():
        if port.get("name") is None:
            port["name"] = ""
        if port.get("protocol") is None:
            port["protocol"] = "TCP"


def network_policy(obj: Object) -> None:
    """Set the defaults of a NetworkPolicy."""
    spec = obj.setdefault("spec", {})
    for rule in (*(spec.get("ingress") or ()), *(spec.get("egress") or ())):
        for port in rule.get("ports") or ():
            if port.get("protocol") is None:
                port["protocol"] = "TCP"
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]


def ingress_class(obj: Object) -> None:
    """Set the defaults of an IngressClass."""
    parameters = (obj.get("spec") or {}).get("parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"
