"""Which addresses requests are passed on to: none by which this server's own machine or its network's services could be reached.

Nodes, pods and endpoints name addresses that their owners choose; without this, whoever may write one could have the API server fetch
a cloud's metadata or what listens on its loopback.

Source: k8s.io/kubernetes/pkg/proxy/util IsProxyableIP and IsProxyableHostname (v1.37).
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from knarr.api import errors

_WORDS = "address not allowed"


def is_allowed(address: str, *, loopback: bool = False) -> bool:
    """Return whether requests may go to an IP address.

    Args:
        address: Anything but an IP address is not allowed.
        loopback: Whether this machine itself is, as tests want it.
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    if found.is_loopback:
        return loopback
    is_broadcast = found == ipaddress.IPv4Address("255.255.255.255")
    return not (found.is_unspecified or found.is_multicast or found.is_link_local or is_broadcast)


def check_address(address: str, *, loopback: bool) -> None:
    """Check an IP address.

    Raises:
        BadRequest: Requests may not go there.
    """
    if not is_allowed(address, loopback=loopback):
        raise errors.BadRequest(_WORDS)


async def check_host(host: str, *, loopback: bool, resolve: Callable[[str], list[str]] | None = None) -> None:
    """Check every address of a host, given by address or name.

    Args:
        host: A node's.
        loopback: Whether this machine itself is allowed.
        resolve: Gives the addresses of a name; None asks the system.

    Raises:
        BadRequest: Requests may not go there.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        try:
            found = await asyncio.to_thread(resolve or _resolve, host)
        except OSError as err:
            raise errors.BadRequest(f"lookup {host}: no such host") from err
    else:
        found = [host]
    for address in found:
        check_address(address, loopback=loopback)


def _resolve(host: str) -> list[str]:
    return [str(one[4][0]) for one in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
