"""IP addresses and blocks, read as leniently as upstream reads old fields and as strictly as it reads new ones.

Source: k8s.io/apimachinery/pkg/util/validation/ip.go and ValidateNonSpecialIP in pkg/apis/core/validation (v1.37).
"""

import ipaddress
import re
from functools import lru_cache

from knarr.api.validation.collector import Errors

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Block = ipaddress.IPv4Network | ipaddress.IPv6Network

_BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
_BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
_MAPPED_BITS = 96
_LEADING_ZERO = re.compile(r"(^|\.)0+(?=\d)")


@lru_cache(4096)
def parse(text: str) -> Address | None:
    """Return the address, leading zeros of octets allowed, or None if the text is none."""
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(_LEADING_ZERO.sub(r"\1", text) if "." in text and ":" not in text else text)
    except ValueError:
        return None


@lru_cache(4096)
def parse_block(text: str) -> tuple[Address, Block] | None:
    """Return the address and the block of "address/length", or None if the text is none."""
    host, slash, length = text.partition("/")
    address = parse(host)
    if not slash or address is None or not length.isdecimal() or int(length) > address.max_prefixlen:
        return None
    return address, ipaddress.ip_network((address, int(length)), strict=False)


def is_mapped(address: Address) -> bool:
    """Return whether this is an IPv4 address written as an IPv6 one."""
    return isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None


def check(errors: Errors, text: str, path: str, *, strict: bool = False) -> bool:
    """Check an address.

    Args:
        errors: Receives what is wrong.
        text: The value.
        path: Its field.
        strict: Whether leading zeros and IPv4-mapped IPv6 addresses are wrong too.

    Returns:
        Whether it is an address at all.
    """
    address = parse(text)
    if address is None:
        errors.invalid(path, text, _BAD_IP)
        return False
    if strict:
        if ":" not in text and _LEADING_ZERO.search(text):
            errors.invalid(path, text, "must not have leading 0s")
        if is_mapped(address):
            errors.invalid(path, text, "must not be an IPv4-mapped IPv6 address")
    return True


def check_block(errors: Errors, text: str, path: str, *, strict: bool = False) -> bool:
    """Check a block of addresses; as `check`, and strict ones may not have bits set beyond the length."""
    parsed = parse_block(text)
    if parsed is None:
        errors.invalid(path, text, _BAD_CIDR)
        return False
    if strict:
        address, block = parsed
        if ":" not in text and _LEADING_ZERO.search(text):
            errors.invalid(path, text, "must not have leading 0s in IP or prefix length")
        elif is_mapped(address):
            errors.invalid(path, text, "must not have an IPv4-mapped IPv6 address")
        elif address != block.network_address:
            errors.invalid(path, text, "must not have bits set beyond the prefix length")
    return True


def check_interface(errors: Errors, text: str, path: str) -> None:
    """Check an address with the length of its block, as interfaces have them, in canonical form."""
    parsed = parse_block(text)
    if parsed is None:
        errors.invalid(path, text, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)")
        return
    address, length = parsed[0], parsed[1].prefixlen
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None and length >= _MAPPED_BITS:
        address, length = mapped, length - _MAPPED_BITS
    if f"{address}/{length}" != text:
        errors.invalid(path, text, f'must be in canonical form ("{address}/{length}")')


def check_not_special(errors: Errors, text: str, path: str) -> None:
    """Check that traffic can be sent to an address from anywhere."""
    address = parse(text)
    if address is None:
        errors.invalid(path, text, "must be a valid IP address")
        return
    if address.is_unspecified:
        errors.invalid(path, text, f"may not be unspecified ({text})")
    if address.is_loopback:
        errors.invalid(path, text, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if address.is_link_local:
        errors.invalid(path, text, "may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if address in _LINK_LOCAL_MULTICAST[address.version]:
        errors.invalid(path, text, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")


_LINK_LOCAL_MULTICAST = {4: ipaddress.ip_network("224.0.0.0/24"), 6: ipaddress.ip_network("ff02::/16")}


def family(text: str) -> int:
    """Return 4, 6, or 0 for what is neither an address nor a block."""
    address = parse(text.partition("/")[0])
    return 0 if address is None else address.version


def check_one_per_family(errors: Errors, texts: list[str], path: str, what: str, value: object) -> None:
    """Check that several addresses or blocks are at most one of each family."""
    families = [family(text) for text in texts]
    if len(texts) > 2 or len(set(families)) < len(families):
        errors.invalid(path, value, f"may specify no more than one {what} for each IP family")
