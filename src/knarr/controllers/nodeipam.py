"""Gives each node a slice of the pod addresses: spec.podCIDR, a /24 of the cluster's range.

Upstream counterpart: pkg/controller/nodeipam (RangeAllocator).
"""

import ipaddress
from collections.abc import Iterable

NODE_PREFIX = 24


def free_range(cluster_cidr: str, taken: Iterable[str], prefix: int = NODE_PREFIX) -> str | None:
    """Return the first range of the cluster's that no node has, or None if all are taken.

    Args:
        cluster_cidr: Such as "10.244.0.0/16".
        taken: The ranges of the nodes.
        prefix: The length of a node's range.
    """
    network = ipaddress.ip_network(cluster_cidr)
    used = {ipaddress.ip_network(cidr) for cidr in taken}
    free = (subnet for subnet in network.subnets(new_prefix=prefix) if subnet not in used)
    return next((str(subnet) for subnet in free), None)
