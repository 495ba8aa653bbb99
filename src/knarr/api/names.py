"""Which strings may name things: each rule returns what is wrong with a value, in upstream's words.

Every function takes the value and returns a tuple of complaints, empty for a good one. A `NameRule` also takes `prefix`,
true for a generateName, whose trailing dash is allowed because characters will follow it. Results are cached: the same
label keys, container names and namespaces come back in every object.

Source: k8s.io/apimachinery/pkg/api/validate/content, .../util/validation and .../api/validation/name.go (v1.37).
"""

import re
from collections.abc import Callable
from functools import lru_cache
from uuid import UUID

Complaints = tuple[str, ...]
NameRule = Callable[[str, bool], Complaints]

LABEL_MAX_BYTES = 63
SUBDOMAIN_MAX_BYTES = 253
PORT_NAME_MAX = 15
_CACHE = 8192

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_LABEL_UNDERSCORE = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_SUBDOMAIN_UNDERSCORE = rf"{_LABEL_UNDERSCORE}(\.{_LABEL_UNDERSCORE})*"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_KEY = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY})?"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_PERCENT = "[0-9]+%"
_HTTP_HEADER = "[-A-Za-z0-9]+"
_ENV_VAR = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"

_MAY_BE = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def _regex_error(words: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{words} (e.g. {listed}regex used for validation is '{pattern}')"


_LABEL_ERROR = _regex_error(
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character",
    _LABEL,
    "my-name",
    "123-abc",
)
_SUBDOMAIN_ERROR = _regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN,
    "example.com",
)
_SUBDOMAIN_UNDERSCORE_ERROR = _regex_error(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', "
    "and must start and end with an alphanumeric character",
    _SUBDOMAIN_UNDERSCORE,
    "example.com",
)
_WILDCARD_ERROR = _regex_error(
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
    _WILDCARD,
    "*.example.com",
)
_LABEL_1035_ERROR = _regex_error(
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character",
    _LABEL_1035,
    "my-name",
    "abc-123",
)
_KEY_ERROR = _regex_error(_MAY_BE, _KEY, "MyName", "my.name", "123-abc")
_VALUE_ERROR = _regex_error(
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character",
    _VALUE,
    "MyValue",
    "my_value",
    "12345",
)
_C_IDENTIFIER_ERROR = _regex_error(
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters "
    "or '_'",
    _C_IDENTIFIER,
    "my_name",
    "MY_NAME",
    "MyName",
)
_ENV_VAR_ERROR = _regex_error(
    "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
    "and must not start with a digit",
    _ENV_VAR,
    "my.env-name",
    "MY_ENV.NAME",
    "MyEnvName1",
)
_CONFIG_KEY_ERROR = _regex_error(
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
    _CONFIG_KEY,
    "key.name",
    "KEY_NAME",
    "key-name",
)

_label_match = re.compile(_LABEL).fullmatch
_subdomain_match = re.compile(_SUBDOMAIN).fullmatch
_subdomain_underscore_match = re.compile(_SUBDOMAIN_UNDERSCORE).fullmatch
_wildcard_match = re.compile(_WILDCARD).fullmatch
_label_1035_match = re.compile(_LABEL_1035).fullmatch
_key_match = re.compile(_KEY).fullmatch
_value_match = re.compile(_VALUE).fullmatch
_c_identifier_match = re.compile(_C_IDENTIFIER).fullmatch
_percent_match = re.compile(_PERCENT).fullmatch
_http_header_match = re.compile(_HTTP_HEADER).fullmatch
_env_var_match = re.compile(_ENV_VAR).fullmatch
_config_key_match = re.compile(_CONFIG_KEY).fullmatch
_http_path_match = re.compile(_HTTP_PATH).fullmatch


def format_range(low: int, high: int) -> str:
    """Return upstream's words for a number that must lie in [low, high]."""
    return f"must be between {low} and {high}, inclusive"


def _too_long(value: str, limit: int, unit: str = "bytes") -> list[str]:
    return [f"must be no more than {limit} {unit}"] if len(value.encode()) > limit else []


@lru_cache(_CACHE)
def dns_label(value: str) -> Complaints:
    """Check an RFC 1123 label: up to 63 of [a-z0-9-], no dash at the ends."""
    found = _too_long(value, LABEL_MAX_BYTES)
    if not _label_match(value):
        found.append("must not contain dots" if _subdomain_match(value) else _LABEL_ERROR)
    return tuple(found)


@lru_cache(_CACHE)
def dns_subdomain(value: str) -> Complaints:
    """Check an RFC 1123 subdomain: labels joined by dots, up to 253 bytes."""
    found = _too_long(value, SUBDOMAIN_MAX_BYTES)
    if not _subdomain_match(value):
        found.append(_SUBDOMAIN_ERROR)
    return tuple(found)


def dns_subdomain_with_underscore(value: str) -> Complaints:
    """Check a subdomain whose labels may hold underscores, as search paths do."""
    found = _too_long(value, SUBDOMAIN_MAX_BYTES, "characters")
    if not _subdomain_underscore_match(value):
        found.append(_SUBDOMAIN_UNDERSCORE_ERROR)
    return tuple(found)


def wildcard_dns_subdomain(value: str) -> Complaints:
    """Check "*." and a subdomain."""
    found = _too_long(value, SUBDOMAIN_MAX_BYTES, "characters")
    if not _wildcard_match(value):
        found.append(_WILDCARD_ERROR)
    return tuple(found)


@lru_cache(_CACHE)
def dns_label_1035(value: str) -> Complaints:
    """Check an RFC 1035 label: an RFC 1123 one that starts with a letter."""
    found = _too_long(value, LABEL_MAX_BYTES, "characters")
    if not _label_1035_match(value):
        found.append(_LABEL_1035_ERROR)
    return tuple(found)


@lru_cache(_CACHE)
def qualified_name(value: str) -> Complaints:
    """Check a label key: a name of up to 63 bytes, perhaps after a subdomain and a slash."""
    found: list[str] = []
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        words = (
            f"a valid label key {_KEY_ERROR} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        )
        return (words,)
    if slash:
        found += [f"prefix part {words}" for words in (dns_subdomain(prefix) if prefix else ("must be non-empty",))]
    if not name:
        found.append("name part must be non-empty")
    else:
        found += [f"name part {words}" for words in _too_long(name, LABEL_MAX_BYTES)]
    if not _key_match(name):
        found.append(f"name part {_KEY_ERROR}")
    return tuple(found)


def is_native_resource(name: str) -> bool:
    """Return whether a resource is Kubernetes' own: without a domain or with one of its."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended_resource(name: str) -> bool:
    """Return whether a resource may be advertised by a device plugin or a node's administrator."""
    if is_native_resource(name) or name.startswith("requests."):
        return False
    return not qualified_name(f"requests.{name}")


@lru_cache(_CACHE)
def label_value(value: str) -> Complaints:
    """Check a label value: empty, or up to 63 of [A-Za-z0-9_.-] with letters or digits at the ends."""
    found = _too_long(value, LABEL_MAX_BYTES)
    if not _value_match(value):
        found.append(_VALUE_ERROR)
    return tuple(found)


def c_identifier(value: str) -> Complaints:
    """Check an identifier of C."""
    return () if _c_identifier_match(value) else (_C_IDENTIFIER_ERROR,)


def percent(value: str) -> Complaints:
    """Check digits and a percent sign."""
    if _percent_match(value):
        return ()
    words = "a valid percent string must be a numeric string followed by an ending '%'"
    return (_regex_error(words, _PERCENT, "1%", "93%"),)


def http_header_name(value: str) -> Complaints:
    """Check the name of an HTTP header field."""
    if _http_header_match(value):
        return ()
    words = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return (_regex_error(words, _HTTP_HEADER, "X-Header-Name"),)


def env_var_name(value: str) -> Complaints:
    """Check the name of an environment variable by the strict rule of before v1.34."""
    return (() if _env_var_match(value) else (_ENV_VAR_ERROR,)) + _dots(value)


@lru_cache(_CACHE)
def relaxed_env_var_name(value: str) -> Complaints:
    """Check the name of an environment variable: printable ASCII without "="."""
    if not value:
        return ("environment variable name must be non-empty",)
    if any(not " " <= char <= "~" or char == "=" for char in value):
        return ("a valid environment variable name must consist only of printable ASCII characters other than '='",)
    return ()


@lru_cache(_CACHE)
def config_map_key(value: str) -> Complaints:
    """Check a key of a ConfigMap or Secret."""
    found = _too_long(value, SUBDOMAIN_MAX_BYTES, "characters")
    if not _config_key_match(value):
        found.append(_CONFIG_KEY_ERROR)
    return (*found, *_dots(value))


def _dots(value: str) -> Complaints:
    if value in {".", ".."}:
        return (f"must not be '{value}'",)
    return ("must not start with '..'",) if value.startswith("..") else ()


@lru_cache(_CACHE)
def port_name(value: str) -> Complaints:
    """Check an IANA service name in lower case: up to 15 of [a-z0-9-], a letter, no double or outer dash."""
    found = _too_long(value, PORT_NAME_MAX, "characters")
    if not re.fullmatch("[-a-z0-9]+", value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value.startswith("-") or value.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return tuple(found)


def port_number(value: int) -> Complaints:
    """Check a port from 1 to 65535."""
    return () if 1 <= value <= 65535 else (format_range(1, 65535),)


def user_id(value: int) -> Complaints:
    """Check a user or group number of 32 bits."""
    return () if 0 <= value <= 0xFFFFFFFF else (format_range(0, 0xFFFFFFFF),)


def path_segment(value: str) -> Complaints:
    """Check what may stand as one segment of a URL path: no "/" or "%", not "." or ".."."""
    if value in {".", ".."}:
        return (f"may not be '{value}'",)
    return tuple(f"may not contain '{char}'" for char in "/%" if char in value)


def uid(value: str) -> Complaints:
    """Check a UUID in its usual lower-case form."""
    try:
        good = str(UUID(value)) == value
    except ValueError:
        good = False
    return () if good else ("must be a lowercase UUID in 8-4-4-4-12 format",)


def fully_qualified_name(value: str) -> Complaints:
    """Check a subdomain of at least three segments; the value is not empty."""
    if found := dns_subdomain(value):
        return (",".join(found),)
    return () if value.count(".") >= 2 else ("should be a domain with at least three segments separated by dots",)


def domain_prefixed_path(value: str) -> list[tuple[str, str]]:
    """Check "domain/path", such as "acme.io/foo"; the value is not empty.

    Returns:
        Pairs of the offending part and what is wrong with it.
    """
    host, slash, path = value.partition("/")
    if not slash or not host or not path:
        return [(value, 'must be a domain-prefixed path (such as "acme.io/foo")')]
    found = [(host, words) for words in dns_subdomain(host)]
    if not _http_path_match(path):
        found.append((path, f"Invalid path (regex used for validation is '{_HTTP_PATH}')"))
    return found


def _masked(value: str, prefix: bool) -> str:
    # A generated name goes on after the dash, so the dash is as good as a letter.
    return value[:-1] + "a" if prefix and len(value) > 1 and value.endswith("-") else value


def name_is_subdomain(value: str, prefix: bool) -> Complaints:
    """Check the name of most kinds."""
    return dns_subdomain(_masked(value, prefix))


def name_is_label(value: str, prefix: bool) -> Complaints:
    """Check the name of a namespace, a service and others that become DNS labels."""
    return dns_label(_masked(value, prefix))


def name_is_label_1035(value: str, prefix: bool) -> Complaints:
    """Check a name by the older rule of services."""
    return dns_label_1035(_masked(value, prefix))


def name_is_path_segment(value: str, _prefix: bool) -> Complaints:
    """Check the name of a role or a binding."""
    return path_segment(value)


def name_is_config_key(value: str, _prefix: bool) -> Complaints:
    """Check the name of a lease candidate."""
    return config_map_key(value)


def name_is_anything(_value: str, _prefix: bool) -> Complaints:
    """Accept any name."""
    return ()
