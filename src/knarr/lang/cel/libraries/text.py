"""Texts: patterns to find, URLs, semantic versions.

Source: k8s.io/apiserver/pkg/cel/library/{regex,urls,semverlib}.go.
"""

import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import re2

from knarr.lang.cel.libraries.function import Function, Opaque, is_valid, member, plain

_SEMVER = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    r"(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?",
    re.ASCII,
)


@lru_cache(256)
def _pattern(text: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except re2.error as err:
        raise ValueError(f"Illegal regex: {err}") from err


def _find(text: str, pattern: str) -> str:
    match = _pattern(pattern).search(text)
    return match[0] if match is not None else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found: list[str] = []
    for match in _pattern(pattern).finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(match[0])
    return found


def _url(text: str) -> Opaque:
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as err:
        raise ValueError(f"URL parse error during conversion from string: {err}") from err
    is_bad = any(ord(char) < 0x20 or char == "\x7f" for char in text) or re.search(r"%(?![0-9A-Fa-f]{2})", text)
    if is_bad or not (parts.scheme or text.startswith("/")) or " " in parts.netloc:
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return Opaque("URL", text)


def _hostname(url: Opaque) -> str:
    host = urlsplit(url.text).netloc.rpartition("@")[2]
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _port(url: Opaque) -> str:
    port = urlsplit(url.text).port
    return "" if port is None else str(port)


def to_semver(text: str, lenient: bool = False) -> Opaque:
    """Return a semantic version as a value; raises ValueError if it is none."""
    if lenient:
        text = _normalized(text)
    if _SEMVER.fullmatch(text) is None:
        raise ValueError(f'invalid semantic version "{text}"')
    return Opaque("Semver", text)


def _normalized(text: str) -> str:
    """Return a version with three numbers, without leading v and zeros."""
    core, mark, rest = re.fullmatch(r"([^-+]*)([-+]?)(.*)", text.removeprefix("v"), re.DOTALL).groups()  # type: ignore[union-attr]
    numbers = [part.lstrip("0") or "0" if part else part for part in core.split(".")]
    return ".".join(([*numbers, "0", "0"])[: max(3, len(numbers))]) + mark + rest


def _parts(version: Opaque) -> tuple[Any, ...]:
    match = _SEMVER.fullmatch(version.text)
    assert match is not None
    pre = match[4]
    steps = tuple((0, int(one), "") if one.isdigit() else (1, 0, one) for one in pre.split(".")) if pre else ()
    return int(match[1]), int(match[2]), int(match[3]), not pre, steps


def _compare(one: Opaque, two: Opaque) -> int:
    left, right = _parts(one), _parts(two)
    return (left > right) - (left < right)


FUNCTIONS: tuple[Function, ...] = (
    member("find", "string_find_string", "string string", "string", _find),
    member("findAll", "string_find_all_string", "string string", "list<string>", _find_all),
    member("findAll", "string_find_all_string_int", "string string int", "list<string>", _find_all),
    plain("url", "string_to_url", "string", "URL", _url),
    plain("isURL", "is_url_string", "string", "bool", is_valid(_url)),
    member("getScheme", "url_get_scheme", "URL", "string", lambda url: urlsplit(url.text).scheme),
    member("getHost", "url_get_host", "URL", "string", lambda url: urlsplit(url.text).netloc.rpartition("@")[2]),
    member("getHostname", "url_get_hostname", "URL", "string", _hostname),
    member("getPort", "url_get_port", "URL", "string", _port),
    member(
        "getEscapedPath", "url_get_escaped_path", "URL", "string",
        lambda url: quote(urlsplit(url.text).path, safe="%/:@!$&'()*+,;=~-._"),
    ),
    member(
        "getQuery", "url_get_query", "URL", "map<list<string>>",
        lambda url: parse_qs(urlsplit(url.text).query, keep_blank_values=True),
    ),
    plain("semver", "string_to_semver", "string", "Semver", to_semver),
    plain("semver", "string_bool_to_semver", "string bool", "Semver", to_semver),
    plain("isSemver", "is_semver_string", "string", "bool", is_valid(to_semver)),
    plain("isSemver", "is_semver_string_bool", "string bool", "bool", is_valid(to_semver)),
    member("major", "semver_major", "Semver", "int", lambda version: _parts(version)[0]),
    member("minor", "semver_minor", "Semver", "int", lambda version: _parts(version)[1]),
    member("patch", "semver_patch", "Semver", "int", lambda version: _parts(version)[2]),
    member("isLessThan", "semver_is_less_than", "Semver Semver", "bool", lambda one, two: _compare(one, two) < 0),
    member("isGreaterThan", "semver_is_greater_than", "Semver Semver", "bool", lambda one, two: _compare(one, two) > 0),
    member("compareTo", "semver_compare_to", "Semver Semver", "int", _compare),
)  # fmt: skip
