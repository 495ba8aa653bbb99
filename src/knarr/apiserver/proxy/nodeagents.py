"""The node agents' HTTPS endpoints, reached with the API server's own client certificate.

Source: pkg/kubelet/client/kubelet_client.go (v1.37).
"""

import ssl
from typing import Any

from knarr.api import errors
from knarr.apiserver.config import Config
from knarr.apiserver.registry import Registry
from knarr.kit.http import client as clients

Object = dict[str, Any]

DEFAULT_PORT = 10250
_PREFERRED = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
_TIMEOUTS = clients.Timeouts(connect_s=10.0, response_s=None, idle_s=30.0)
_CLIENTS_KEPT = 512


class NodeAgents:
    """Clients of node agents, one an address.

    Args:
        config: Has the certificate to show and the authority to trust.
        registry: Has the nodes.
    """

    def __init__(self, config: Config, registry: Registry) -> None:
        self._config = config
        self._registry = registry
        self._clients: dict[tuple[str, int], clients.Client] = {}
        self._tls: ssl.SSLContext | None = None

    def client(self, node_name: str) -> clients.Client:
        """Return a client of a node's agent.

        Raises:
            NotFound: there is no such node.
            InternalError: it has no address.
        """
        node = self._registry.get("nodes", "", node_name)
        if node is None:
            raise errors.NotFound("", "nodes", node_name)
        address = locate(node)
        found = self._clients.get(address)
        if found is None:
            if len(self._clients) >= _CLIENTS_KEPT:
                self._clients.clear()
            host, port = address
            shown = f"[{host}]" if ":" in host else host
            found = clients.Client(f"https://{shown}:{port}", tls=self._context(), timeouts=_TIMEOUTS)
            self._clients[address] = found
        return found

    async def aclose(self) -> None:
        """Let go of all connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = node_context(self._config)
        return self._tls


def locate(node: Object) -> tuple[str, int]:
    """Return the host and port of a node's agent.

    Raises:
        InternalError: the node has no address.
    """
    status = node.get("status") or {}
    port = ((status.get("daemonEndpoints") or {}).get("kubeletEndpoint") or {}).get("Port") or DEFAULT_PORT
    addresses = {one.get("type"): one.get("address") for one in reversed(status.get("addresses") or [])}
    for kind in _PREFERRED:
        if addresses.get(kind):
            return addresses[kind], port
    raise errors.ServiceUnavailable(f"no preferred addresses found; known addresses: {status.get('addresses') or []}")


def node_context(config: Config) -> ssl.SSLContext:
    """Return the TLS settings of connections to node agents."""
    context = ssl.create_default_context(cafile=config.kubelet_ca)
    if config.kubelet_ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if config.kubelet_client is not None:
        context.load_cert_chain(config.kubelet_client.certificate, config.kubelet_client.key)
    return context
