"""Host ports of this node's pods: `hostPort` of a container leads to the pod, as a node port with one endpoint does.

Source: the portmap CNI plugin (v1.6), which does this elsewhere; here it needs neither iptables nor a process a pod.
"""

import ipaddress

from lightkube.models import core_v1

from knarr.network.proxy.rules import CHAIN, SPREAD, Key
from knarr.network.proxy.skeleton import Table

_ENDED = {"Succeeded", "Failed"}


def plan_host_ports(pod: core_v1.Pod, table: Table) -> dict[Key, str]:
    """Return the rules for the host ports of one pod; empty without such ports, without an address, or when it has ended."""
    spec, status = pod.spec, pod.status
    if spec is None or status is None or spec.hostNetwork or not status.podIP or status.phase in _ENDED:
        return {}
    rules: dict[Key, str] = {}
    sidecars = [one for one in spec.initContainers or () if one.restartPolicy == "Always"]
    for container in (*spec.containers, *sidecars):
        for port in container.ports or ():
            if port.hostPort:
                rules |= _plan_port(port, status.podIP, table)
    return rules


def _plan_port(port: core_v1.ContainerPort, address: str, table: Table) -> dict[Key, str]:
    protocol = (port.protocol or "TCP").lower()
    only = port.hostIP if port.hostIP and not ipaddress.ip_address(port.hostIP).is_unspecified else ""
    services, backends = ("service-ips", "backends") if only else ("service-nodeports", "nodeport-backends")
    key = f"{only} . {protocol} . {port.hostPort}" if only else f"{protocol} . {port.hostPort}"
    chain = f"host-port/{backends}"
    return {
        (CHAIN, chain): f"fib saddr type local jump mark-for-masquerade\ngoto {backends}/1",
        (services, key): f"goto {chain}",
        (backends, f"{key} . 0"): f"{address} . {port.containerPort}",
        ("hairpin-connections", f"{address} . {address}"): "",
        (SPREAD, "1"): "",
    }
