"""IP addresses and ranges.

Source: k8s.io/apiserver/pkg/cel/library/{ip,cidr}.go.
"""

import ipaddress
from typing import Any

from knarr.lang.cel.libraries.function import Function, Opaque, is_valid, member, plain


def _address(text: str) -> Any:
    if "%" in text:
        raise ValueError(f'IP Address "{text}" with zone value is not allowed')
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f'IP Address "{text}" parse error during conversion from string') from None
    if found.version == 6 and found.ipv4_mapped is not None:
        raise ValueError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return found


def _ip(text: str) -> Opaque:
    return Opaque("IP", str(_address(text)))


def _network(text: str) -> tuple[Any, int]:
    address, slash, length = text.partition("/")
    try:
        found = _address(address)
    except ValueError:
        raise ValueError("network address parse error during conversion from string") from None
    is_number = length.isascii() and length.isdigit() and (length == "0" or length[0] != "0")
    if not slash or not is_number or int(length) > found.max_prefixlen:
        raise ValueError("network address parse error during conversion from string")
    return found, int(length)


def _cidr(text: str) -> Opaque:
    address, length = _network(text)
    return Opaque("CIDR", f"{address}/{length}")


def _range(one: Opaque) -> Any:
    return ipaddress.ip_network(one.text, strict=False)


def _contains_ip(one: Opaque, other: Opaque | str) -> bool:
    return _address(other.text if isinstance(other, Opaque) else other) in _range(one)


def _contains_cidr(one: Opaque, other: Opaque | str) -> bool:
    inner = _range(other if isinstance(other, Opaque) else _cidr(other))
    outer = _range(one)
    return bool(inner.version == outer.version and inner.subnet_of(outer))


def _is_global_unicast(one: Opaque) -> bool:
    found = ipaddress.ip_address(one.text)
    is_broadcast = one.text == "255.255.255.255"
    return not (found.is_unspecified or found.is_loopback or found.is_multicast or found.is_link_local or is_broadcast)


def _is_link_local_multicast(one: Opaque) -> bool:
    found = ipaddress.ip_address(one.text)
    if found.version == 4:
        return found in ipaddress.ip_network("224.0.0.0/24")
    return found.is_multicast and found.packed[1] & 0x0F == 2


FUNCTIONS: tuple[Function, ...] = (
    plain("ip", "string_to_ip", "string", "IP", _ip),
    plain("isIP", "is_ip", "string", "bool", is_valid(_ip)),
    plain("ip.isCanonical", "ip_is_canonical", "string", "bool", lambda text: str(_address(text)) == text),
    plain("string", "ip_to_string", "IP", "string", lambda one: one.text),
    member("family", "ip_family", "IP", "int", lambda one: ipaddress.ip_address(one.text).version),
    member("isUnspecified", "ip_is_unspecified", "IP", "bool", lambda one: ipaddress.ip_address(one.text).is_unspecified),
    member("isLoopback", "ip_is_loopback", "IP", "bool", lambda one: ipaddress.ip_address(one.text).is_loopback),
    member("isLinkLocalMulticast", "ip_is_link_local_multicast", "IP", "bool", _is_link_local_multicast),
    member(
        "isLinkLocalUnicast", "ip_is_link_local_unicast", "IP", "bool",
        lambda one: ipaddress.ip_address(one.text).is_link_local,
    ),
    member("isGlobalUnicast", "ip_is_global_unicast", "IP", "bool", _is_global_unicast),
    plain("cidr", "string_to_cidr", "string", "CIDR", _cidr),
    plain("isCIDR", "is_cidr", "string", "bool", is_valid(_cidr)),
    plain("string", "cidr_to_string", "CIDR", "string", lambda one: one.text),
    member("containsIP", "cidr_contains_ip_string", "CIDR string", "bool", _contains_ip),
    member("containsIP", "cidr_contains_ip_ip", "CIDR IP", "bool", _contains_ip),
    member("containsCIDR", "cidr_contains_cidr_string", "CIDR string", "bool", _contains_cidr),
    member("containsCIDR", "cidr_contains_cidr", "CIDR CIDR", "bool", _contains_cidr),
    member("ip", "cidr_ip", "CIDR", "IP", lambda one: Opaque("IP", one.text.partition("/")[0])),
    member("masked", "cidr_masked", "CIDR", "CIDR", lambda one: Opaque("CIDR", str(_range(one)))),
    member("prefixLength", "cidr_prefix_length", "CIDR", "int", lambda one: int(one.text.partition("/")[2])),
)  # fmt: skip
