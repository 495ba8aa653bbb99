"""The cluster IPs and node ports in use by Services.

What is stored is the truth: the pool is filled from the store at start and follows every commit. A write that is under way holds what
it has taken until it is committed or given back, so that two Services written at once never get the same address.

Source: pkg/registry/core/service/{ipallocator,portallocator,storage/alloc.go} (v1.37).
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from random import Random
from typing import Any

from knarr.api import errors, field

Object = dict[str, Any]

IPV4, IPV6 = "IPv4", "IPv6"
NONE = "None"
_STATIC_SHARE_MAX = 256
_STATIC_SHARE_MIN = 16


class ServiceIPs:
    """The pools of cluster IPs and node ports.

    Args:
        cidrs: Ranges of cluster IPs, at most one a family, the primary one first.
        node_ports: First and last node port.
        random: Draws addresses and ports.
    """

    def __init__(self, cidrs: Iterable[str], node_ports: tuple[int, int], random: Random) -> None:
        self._networks = {_family(network): network for network in map(ipaddress.ip_network, cidrs)}
        self._first_port, self._last_port = node_ports
        self._random = random
        self._ips: Counter[str] = Counter()
        self._ports: Counter[int] = Counter()
        self._claimed: Collection[str] = ()

    @property
    def families(self) -> tuple[str, ...]:
        """The families that have a range, the primary one first."""
        return tuple(self._networks)

    def on_change(self, old: Object | None, new: Object | None) -> None:
        """Follow a committed change of a Service."""
        if new is not None:
            self._ips.update(ips_of(new))
            self._ports.update(ports_of(new))
        if old is not None:
            self._give_back(ips_of(old), ports_of(old))

    def reserve(self, new: Object, old: Object | None, *, claimed: Collection[str] = ()) -> Callable[[], None]:
        """Take the addresses and ports that a Service names, and choose those that it leaves open.

        Args:
            new: The Service; what is chosen is written into it.
            old: What is stored; its addresses and ports stay its own.
            claimed: Addresses and ports, as text, that other servers are about to give away.

        Returns:
            What ends the reservation. Call it after the commit (which holds them from then on) or after the write has failed.

        Raises:
            Invalid: an address or port is taken or out of range.
            InternalError: a range is full.
        """
        ours_before = set(ips_of(old)) if old else set()
        ports_before = set(ports_of(old)) if old else set()
        ips: list[str] = []
        ports: list[int] = []
        self._claimed = claimed
        try:
            self._reserve_ips(new, ours_before, ips)
            self._reserve_ports(new, ports_before, ports)
        except errors.StatusError:
            self._give_back(ips, ports)
            raise
        return lambda: self._give_back(ips, ports)

    def _reserve_ips(self, service: Object, ours: set[str], taken: list[str]) -> None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName" or spec.get("clusterIP") == NONE:
            return
        wanted = list(spec.get("clusterIPs") or ())
        chosen = []
        for index, family in enumerate(spec.get("ipFamilies") or ()):
            ip = wanted[index] if index < len(wanted) else ""
            if not ip:
                ip = self._free_ip(family)
            elif ip not in ours:
                self._check_ip(service, family, ip)
            self._ips[ip] += 1
            taken.append(ip)
            chosen.append(ip)
        if chosen:
            spec["clusterIP"], spec["clusterIPs"] = chosen[0], chosen

    def _check_ip(self, service: Object, family: str, ip: str) -> None:
        network = self._networks.get(family)
        try:
            inside = network is not None and ipaddress.ip_address(ip) in network
        except ValueError:
            return  # validation says what is wrong with it
        why = ""
        if not inside:
            why = f"the provided IP ({ip}) is not in the valid range. The range of valid IPs is {network}"
        elif self._has_ip(ip):
            why = "provided IP is already allocated"
        if why:
            words = f"failed to allocate IP {ip}: {why}"
            raise _invalid(service, field.invalid(field.Path("spec.clusterIPs"), [ip], words))

    def _free_ip(self, family: str) -> str:
        network = self._networks.get(family)
        if network is None:
            raise errors.InternalError(f"failed to allocate a serviceIP: no {family} range is configured")
        size = min(network.num_addresses, 1 << 32)
        # The lower part is left to addresses that people choose; it is used once the rest is full (KEP-3070).
        static = min(max(_STATIC_SHARE_MIN, size // 16), _STATIC_SHARE_MAX)
        last = size - 2 if family == IPV4 else size - 1
        if size <= _STATIC_SHARE_MIN:
            static = 0
        for low, high in ((static + 1, last), (1, static)):
            if high < low:
                continue
            start = self._random.randint(low, high)
            for offset in range(min(high - low + 1, len(self._ips) + len(self._claimed) + 1)):
                ip = str(network[low + (start - low + offset) % (high - low + 1)])
                if not self._has_ip(ip):
                    return ip
        raise errors.InternalError("failed to allocate a serviceIP: range is full")

    def _reserve_ports(self, service: Object, ours: set[int], taken: list[int]) -> None:
        spec = service["spec"]
        wants_ports = needs_node_ports(spec)
        for index, port in enumerate(spec.get("ports") or ()):
            number = port.get("nodePort") or 0
            if not wants_ports and not number:
                continue
            if not number:
                number = port["nodePort"] = self._free_port()
            elif number not in ours and number not in taken:
                self._check_port(service, f"spec.ports[{index}].nodePort", number)
            self._take_port(number, taken)
        if needs_health_port(spec):
            number = spec.get("healthCheckNodePort") or 0
            if not number:
                number = spec["healthCheckNodePort"] = self._free_port()
            elif number not in ours:
                self._check_port(service, "spec.healthCheckNodePort", number)
            self._take_port(number, taken)

    def _take_port(self, number: int, taken: list[int]) -> None:
        self._ports[number] += 1
        taken.append(number)

    def _check_port(self, service: Object, path: str, number: int) -> None:
        if not self._first_port <= number <= self._last_port:
            valid = f"{self._first_port}-{self._last_port}"
            words = f"provided port is not in the valid range. The range of valid ports is {valid}"
        elif self._has_port(number):
            words = "provided port is already allocated"
        else:
            return
        raise _invalid(service, field.invalid(field.Path(path), number, words))

    def _free_port(self) -> int:
        size = self._last_port - self._first_port + 1
        start = self._random.randrange(size)
        for offset in range(size):
            number = self._first_port + (start + offset) % size
            if not self._has_port(number):
                return number
        raise errors.InternalError("failed to allocate a nodePort: range is full")

    def _has_ip(self, ip: str) -> bool:
        return bool(self._ips[ip]) or ip in self._claimed

    def _has_port(self, number: int) -> bool:
        return bool(self._ports[number]) or (bool(self._claimed) and str(number) in self._claimed)

    def _give_back(self, ips: Iterable[str], ports: Iterable[int]) -> None:
        for ip in ips:
            self._ips[ip] -= 1
            if self._ips[ip] <= 0:
                del self._ips[ip]
        for port in ports:
            self._ports[port] -= 1
            if self._ports[port] <= 0:
                del self._ports[port]


def ips_of(service: Object) -> list[str]:
    """Return the cluster IPs that a Service holds."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return []
    found = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [ip for ip in found if ip and ip != NONE]


def ports_of(service: Object) -> list[int]:
    """Return the node ports that a Service holds, once for each of its ports that uses it."""
    spec = service.get("spec") or {}
    found = [port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")]
    if spec.get("healthCheckNodePort"):
        found.append(spec["healthCheckNodePort"])
    return found


def needs_node_ports(spec: Object) -> bool:
    """Return whether every port of a Service gets a node port."""
    if spec.get("type") == "NodePort":
        return True
    return spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is not False


def needs_health_port(spec: Object) -> bool:
    """Return whether a Service gets a node port for health checks."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _family(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    return IPV4 if network.version == 4 else IPV6


def _invalid(service: Object, error: field.FieldError) -> errors.Invalid:
    return errors.Invalid("", "Service", service["metadata"].get("name") or "", [error])
