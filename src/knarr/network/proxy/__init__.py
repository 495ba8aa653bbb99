"""The service proxy: Services and EndpointSlices become nftables rules.

Upstream counterpart: pkg/proxy/nftables (v1.37).
"""

from knarr.network.proxy.proxy import Config, Proxy, open_proxy, remove

__all__ = ["Config", "Proxy", "open_proxy", "remove"]
