"""The formats of strings that a schema may ask for; others are ignored.

Source: supportedVersionedFormats in k8s.io/apiextensions-apiserver/pkg/apiserver/validation/formats.go and
k8s.io/kube-openapi/pkg/validation/strfmt/default.go (v1.37).
"""

import base64
import binascii
import ipaddress
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from knarr.api import names

_EMAIL = re.compile(r"[^@\s<>]+@[^@\s<>]+")
_HOSTNAME = re.compile(r"(?!-)[a-zA-Z0-9-]{1,63}(?<!-)(\.(?!-)[a-zA-Z0-9-]{1,63}(?<!-))*\.?", re.ASCII)
_UUID = r"[0-9a-f]{8}-?[0-9a-f]{4}-?%s[0-9a-f]{3}-?%s[0-9a-f]{3}-?[0-9a-f]{12}"
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"[+-]?((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+", re.ASCII)
_WORDY_DURATION = re.compile(
    r"\d+\s*(ns|nanos?|us|µs|micros?|ms|millis?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|wks?|weeks?)",
    re.ASCII,
)
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5,7}|[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4}){2,3}", re.ASCII)


def _is_ip(version: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version and "%" not in text
        except ValueError:
            return False

    return check


def _is_cidr(text: str) -> bool:
    address, slash, length = text.partition("/")
    if not slash or not (length.isascii() and length.isdigit()) or (len(length) > 1 and length[0] == "0"):
        return False
    try:
        return int(length) <= ipaddress.ip_address(address).max_prefixlen and "%" not in address
    except ValueError:
        return False


def _is_uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _is_date(text: str) -> bool:
    return _DATE.fullmatch(text) is not None and _parses(text)


def _is_date_time(text: str) -> bool:
    if _DATE_TIME.fullmatch(text) is None:
        return False
    head, zone = text[:19].upper(), re.search(r"([Zz]|[+-]\d\d:\d\d)$", text)
    assert zone is not None
    return _parses(head + ("+00:00" if zone[0] in "Zz" else zone[0]))


def _parses(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def _matches(pattern: str, flags: int = re.IGNORECASE) -> Callable[[str], bool]:
    compiled = re.compile(pattern, flags | re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def is_duration(text: str) -> bool:
    """Return whether a text is a duration as Go writes it, or in words such as "3 days"."""
    return text == "0" or _DURATION.fullmatch(text) is not None or _WORDY_DURATION.fullmatch(text) is not None


def _is_isbn(length: int) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        digits = text.replace("-", "").replace(" ", "")
        if len(digits) != length:
            return False
        body, last = digits[:-1], digits[-1]
        if not body.isdigit():
            return False
        if length == 13:
            return last.isdigit() and sum(int(d) * (1, 3)[i % 2] for i, d in enumerate(digits)) % 10 == 0
        check_digit = 10 if last in "xX" else int(last) if last.isdigit() else -100
        return (sum((i + 1) * int(d) for i, d in enumerate(body)) + 10 * check_digit) % 11 == 0

    return check


_isbn10, _isbn13 = _is_isbn(10), _is_isbn(13)


def _is_credit_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]", "", text)
    if not 13 <= len(digits) <= 19:
        return False
    total = 0
    for index, digit in enumerate(reversed(digits)):
        number = int(digit) * (1 + index % 2)
        total += number - 9 if number > 9 else number
    return total % 10 == 0


FORMATS: Mapping[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(r"[0-9a-f]{24}"),
    "uri": _is_uri,
    "email": lambda text: _EMAIL.fullmatch(text) is not None,
    "hostname": lambda text: len(text) <= 255 and _HOSTNAME.fullmatch(text) is not None,
    "ipv4": _is_ip(4),
    "ipv6": _is_ip(6),
    "cidr": _is_cidr,
    "mac": lambda text: _MAC.fullmatch(text) is not None,
    "uuid": _matches(_UUID % ("[0-9a-f]", "[0-9a-f]")),
    "uuid3": _matches(_UUID % ("3", "[0-9a-f]")),
    "uuid4": _matches(_UUID % ("4", "[89ab]")),
    "uuid5": _matches(_UUID % ("5", "[89ab]")),
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "creditcard": _is_credit_card,
    "ssn": _matches(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _matches(r"#?([0-9a-f]{3}|[0-9a-f]{6})"),
    "rgbcolor": _matches(
        r"rgb\(\s*(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\s*(,\s*(\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])\s*){2}\)"
    ),
    "byte": _is_base64,
    "password": lambda text: True,
    "date": _is_date,
    "duration": is_duration,
    "datetime": _is_date_time,
    "date-time": _is_date_time,
    "k8s-short-name": lambda text: not names.dns_label(text),
    "k8s-long-name": lambda text: not names.dns_subdomain(text),
}
"""Whether a string has a format, by the format's name."""
