"""Addresses and blocks that old fields take although they are written in an odd way.

Source: GetWarningsForIP and GetWarningsForCIDR in k8s.io/apimachinery/pkg/util/validation/ip.go (v1.37).
"""

import ipaddress
import re

from knarr.api.validation import addresses
from knarr.api.validation.addresses import Address, Block

_LEADING_ZERO = re.compile(r"(^|[./])0\d")


def of_address(text: str, path: str) -> list[str]:
    """Return the warning about an address."""
    address = addresses.parse(text)
    if address is None:
        return []
    if _is_odd(text, address):
        return [f'{path}: non-standard IP address "{text}" is invalid: use "{_plain(address)}"']
    if address.version == 6 and str(address) != text:
        return [f'{path}: IPv6 address "{text}" should be in RFC 5952 canonical format ("{address}")']
    return []


def of_block(text: str, path: str) -> list[str]:
    """Return the warnings about a block of addresses."""
    parsed = addresses.parse_block(text)
    if parsed is None:
        return []
    address, block = parsed
    found, usual = [], _plain_block(block)
    if address != block.network_address:
        single = f"{_plain(address)}/{_plain(address).max_prefixlen}"
        found.append(f'{path}: CIDR value "{text}" is ambiguous in this context (should be "{usual}" or "{single}"?)')
    if _is_odd(text, address):
        found.append(f'{path}: non-standard CIDR value "{text}" is invalid: use "{usual}"')
    written = f"{address}/{block.prefixlen}"
    if not found and address.version == 6 and written != text:
        found.append(f'{path}: IPv6 CIDR value "{text}" should be in RFC 5952 canonical format ("{written}")')
    return found


def _is_odd(text: str, address: Address) -> bool:
    host = text.partition("/")[0]
    zeros = text if ":" not in host else text.removeprefix(host)
    return addresses.is_mapped(address) or _LEADING_ZERO.search(zeros) is not None


def _plain(address: Address) -> Address:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _plain_block(block: Block) -> str:
    address = block.network_address
    plain = _plain(address)
    taken = address.max_prefixlen - plain.max_prefixlen
    return f"{plain}/{block.prefixlen - taken}" if block.prefixlen >= taken else str(block)
