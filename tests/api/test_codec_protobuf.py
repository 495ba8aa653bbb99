import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.api import codec


def field(number, value):
    """Encode one field: numbers as varints, bytes and texts with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value & (2**64 - 1))
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def message(*fields):
    return b"".join(field(number, value) for number, value in fields)


def envelope(api_version, kind, raw):
    return b"k8s\x00" + message((1, message((1, api_version), (2, kind))), (2, raw), (3, ""), (4, ""))


def decode(api_version, kind, *fields):
    found = codec.decode(envelope(api_version, kind, message(*fields)), codec.PROTOBUF)
    assert (found.pop("apiVersion"), found.pop("kind")) == (api_version, kind)
    return found


def test_maps_bytes_and_metadata():
    entry = message((1, "k"), (2, b"\x00\xff"))
    meta = message((1, "s"), (3, "ns"), (8, b""), (11, message((1, "a"), (2, "b"))))
    assert decode("v1", "Secret", (1, meta), (2, entry), (3, "Opaque")) == {
        "metadata": {"name": "s", "namespace": "ns", "creationTimestamp": None, "labels": {"a": "b"}},
        "data": {"k": "AP8="},
        "type": "Opaque",
    }


def test_a_deployment_with_what_is_written_inline():
    selector = message((1, message((1, "app"), (2, "x"))))
    resources = message((1, message((1, "cpu"), (2, message((1, "100m"))))))
    port = message((1, "http"), (3, 80))
    probe = message((1, message((2, message((1, "/"), (2, message((1, 1), (2, 0), (3, "http"))))))), (2, 5))
    container = message((1, "c"), (6, port), (8, resources), (10, probe))
    volume = message((1, "v"), (2, message((19, message((1, message((1, "cm"))))))))
    template = message((2, message((1, volume), (2, container))))
    spec = message((1, 3), (2, selector), (3, template))
    assert decode("apps/v1", "Deployment", (2, spec))["spec"] == {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "x"}},
        "template": {
            "spec": {
                "volumes": [{"name": "v", "configMap": {"name": "cm"}}],
                "containers": [
                    {
                        "name": "c",
                        "ports": [{"name": "http", "containerPort": 80}],
                        "resources": {"limits": {"cpu": "100m"}},
                        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "initialDelaySeconds": 5},
                    }
                ],
            }
        },
    }


def test_times_and_micro_times():
    lease = message((1, "me"), (3, message((1, 1_600_000_000), (2, 123_456_789))))
    assert decode("coordination.k8s.io/v1", "Lease", (2, lease))["spec"] == {
        "holderIdentity": "me",
        "acquireTime": "2020-09-13T12:26:40.123456Z",
    }


def test_negative_numbers_and_lists_of_texts():
    assert decode("v1", "DeleteOptions", (1, -1), (4, "Background"), (5, "All")) == {
        "gracePeriodSeconds": -1, "propagationPolicy": "Background", "dryRun": ["All"],
    }  # fmt: skip


def test_fields_of_later_releases_are_skipped():
    assert decode("v1", "ConfigMap", (1, message((1, "c"), (999, "new"))), (998, 7)) == {"metadata": {"name": "c"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00\x0a\x05x", "unexpected EOF"),
        (b"k8s\x00\x0b", "proto: illegal wireType 3"),
        (b"k8s\x00" + b"\xff" * 11, "proto: integer overflow"),
        (envelope("v2", "Nothing", b""), 'no kind "Nothing" is registered for version "v2" in protobuf'),
    ],
)
def test_what_cannot_be_read(body, words):
    with pytest.raises(codec.BadBody) as caught:
        codec.decode(body, codec.PROTOBUF)
    assert str(caught.value) == words


@given(st.binary(max_size=200), st.sampled_from(["Pod", "Event", "DeleteOptions", "Service"]))
def test_any_bytes_give_an_object_or_a_bad_body(raw, kind):
    with contextlib.suppress(codec.BadBody):
        assert isinstance(codec.decode(envelope("v1", kind, raw), codec.PROTOBUF), dict)
