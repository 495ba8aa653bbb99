"""Cluster DNS: names of Services and pods, everything else asked of the machine's own servers.

Upstream counterpart: CoreDNS with its kubernetes, cache and forward plugins.
Source: Kubernetes DNS-Based Service Discovery 1.1.0, https://github.com/kubernetes/dns/blob/master/docs/specification.md
"""

from knarr.network.dns.server import Config, Dns, open_dns

__all__ = ["Config", "Dns", "open_dns"]
