import pytest

from knarr.api import names


@pytest.mark.parametrize("value", ["a", "web-0", "0", "a" * 63])
def test_good_dns_labels(value):
    assert names.dns_label(value) == ()


def test_label_complaints_are_upstreams():
    assert names.dns_label("a.b") == ("must not contain dots",)
    assert names.dns_label("Web_1") == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
        "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    )
    assert names.dns_label("a" * 64) == ("must be no more than 63 bytes",)


def test_a_newline_at_the_end_is_no_label():
    assert names.dns_label("web\n")
    assert names.label_value("web\n")


def test_length_counts_bytes():
    assert names.label_value("é" * 40)[0] == "must be no more than 63 bytes"


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("a/b/c", "a valid label key must consist of"),
        ("/b", "prefix part must be non-empty"),
        ("a/", "name part must be non-empty"),
        ("UP/b", "prefix part a lowercase RFC 1123 subdomain"),
        ("", "name part must be non-empty"),
        ("a" * 64, "name part must be no more than 63 bytes"),
    ],
)
def test_bad_qualified_names(value, start):
    assert names.qualified_name(value)[0].startswith(start)


@pytest.mark.parametrize("value", ["app", "app.kubernetes.io/name", "a.b/C_d.e-f"])
def test_good_qualified_names(value):
    assert names.qualified_name(value) == ()


@pytest.mark.parametrize(
    ("value", "complaints"),
    [
        ("http", ()),
        ("http-2", ()),
        ("80", ("must contain at least one letter (a-z)",)),
        ("a--b", ("must not contain consecutive hyphens",)),
        ("-a", ("must not begin or end with a hyphen",)),
        ("averylongportname", ("must be no more than 15 characters",)),
    ],
)
def test_port_names(value, complaints):
    assert names.port_name(value) == complaints


def test_config_keys():
    assert names.config_map_key("a.b_C-1") == ()
    assert names.config_map_key("..") == ("must not be '..'",)
    assert names.config_map_key("..x") == ("must not start with '..'",)
    assert names.config_map_key("a b")[0].startswith("a valid config key must consist of")


def test_env_var_names():
    assert names.env_var_name("MY_VAR") == ()
    assert names.env_var_name("1X")
    assert names.relaxed_env_var_name("1X y") == ()
    assert names.relaxed_env_var_name("a=b")
    assert names.relaxed_env_var_name("é")
    assert names.relaxed_env_var_name("") == ("environment variable name must be non-empty",)


def test_a_generated_name_may_end_in_a_dash():
    assert names.name_is_subdomain("web-", True) == ()
    assert names.name_is_subdomain("web-", False)


def test_path_segments():
    assert names.path_segment("system:node") == ()
    assert names.path_segment("..") == ("may not be '..'",)
    assert names.path_segment("a/b%c") == ("may not contain '/'", "may not contain '%'")


def test_uids():
    assert names.uid("0b0e6d0e-6f4f-4a3f-9b5a-1f1d1b3c2a10") == ()
    assert names.uid("0B0E6D0E-6F4F-4A3F-9B5A-1F1D1B3C2A10")
    assert names.uid("x")


def test_other_rules():
    assert names.c_identifier("a_1") == ()
    assert names.c_identifier("1a")
    assert names.http_header_name("X-Forwarded-For") == ()
    assert names.http_header_name("a b")
    assert names.percent("25%") == ()
    assert names.percent("25")
    assert names.port_number(65535) == ()
    assert names.port_number(0) == ("must be between 1 and 65535, inclusive",)
    assert names.user_id(-1) == ("must be between 0 and 4294967295, inclusive",)
    assert names.domain_prefixed_path("acme.io/x") == []
    assert names.domain_prefixed_path("acme") == [("acme", 'must be a domain-prefixed path (such as "acme.io/foo")')]
    assert names.fully_qualified_name("a.b.c") == ()
    assert names.fully_qualified_name("a.b") == ("should be a domain with at least three segments separated by dots",)
    assert names.wildcard_dns_subdomain("*.a.b") == ()
    assert names.wildcard_dns_subdomain("*.*.b")
    assert names.dns_label_1035("0a")
    assert names.dns_subdomain_with_underscore("_dmarc.a_b") == ()
