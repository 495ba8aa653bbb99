"""Bodies against bytes that an independent protobuf implementation agreed to, and against what hostile clients send."""

import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.api import protobuf, schema, scheme
from knarr.api.protobuf import wire

CASES = Path(__file__).parent / "cases"
NAMES = sorted(path.stem for path in CASES.glob("*.json"))
OTHERS = sorted(
    path for part in ("defaults", "validation") for path in (CASES.parents[1] / part / "cases").glob("*.input.yaml")
)


def _golden(name: str) -> tuple[dict[str, Any], bytes]:
    return json.loads((CASES / f"{name}.json").read_text()), bytes.fromhex((CASES / f"{name}.hex").read_text())


@pytest.mark.parametrize("name", NAMES)
def test_encode(name: str) -> None:
    obj, body = _golden(name)
    assert protobuf.encode(obj).hex() == body.hex()


@pytest.mark.parametrize("name", NAMES)
def test_decode(name: str) -> None:
    obj, body = _golden(name)
    assert protobuf.decode(body) == obj


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parents[1].name}-{path.stem}")
def test_objects_of_other_tests_come_back(path: Path) -> None:
    count = 0
    for obj in _objects(list(yaml.safe_load_all(path.read_text()))):
        resource = scheme.BUILT_IN.find_kind(obj["apiVersion"], obj["kind"])
        if resource is None:
            continue
        definition = schema.built_in().get(resource.definition)
        try:
            given = schema.normalize(obj, definition)
        except schema.DecodeError:
            continue
        count += 1
        body = protobuf.encode(given)
        found = protobuf.decode(body)
        assert protobuf.encode(found) == body
        assert list(_lost(given, found, resource.kind)) == []
    assert count


def _objects(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, list):
        return [found for item in value for found in _objects(item)]
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("kind"), str) and isinstance(value.get("apiVersion"), str):
        return [value]
    return [found for item in value.values() for found in _objects(item)]


def _lost(given: Any, found: Any, path: str) -> list[str]:
    """Return what is in one but not in the other, apart from what is empty or a struct's zero."""
    if isinstance(given, dict) and isinstance(found, dict):
        keys = (key for key in given if not (path.endswith("volumeClaimTemplates[]") and key in ("kind", "apiVersion")))
        return [text for key in keys for text in _lost(given[key], found.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        return [text for one, other in zip(given, found, strict=True) for text in _lost(one, other, f"{path}[]")]
    return [] if given == found or (not given and found is None) else [f"{path}: {given!r} != {found!r}"]


def _pod(raw: bytes) -> bytes:
    return protobuf.wrap("v1", "Pod", raw)


def _field(number: int, data: bytes) -> bytes:
    return wire.varint(number << 3 | 2) + wire.varint(len(data)) + data


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "empty data"),
        (b"{}", "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"),
        (b"k8s\x00", "empty body"),
        (b"k8s\x00\x0a\xff\x01", "unexpected EOF"),
        (b"k8s\x00\x0a", "unexpected EOF"),
        (b"k8s\x00" + b"\xff" * 11, "proto: integer overflow"),
        (b"k8s\x00\x0c", "proto: Unknown: wiretype end group for non-group"),
    ],
)
def test_what_is_no_envelope(body: bytes, words: str) -> None:
    with pytest.raises(protobuf.BadEnvelope) as caught:
        protobuf.decode(body)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x0a\x05\x0a", "unexpected EOF"),
        (b"\x0a\x02\x0a\x05", "unexpected EOF"),
        (b"\x0a\x02\x0a\x05hello", "unexpected EOF"),
        (b"\x08\x01", "proto: wrong wireType = 0 for field metadata"),
        (b"\x07\x01", "proto: Pod: illegal tag 0 (wire type 7)"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "proto: integer overflow"),
        (b"\xa3\x06" * 200, "proto: groups nested too deeply"),
        (_field(1, _field(8, b"\x08" + wire.varint(2**60))), "Time.MarshalJSON: year outside of range [0,9999]"),
        (_field(1, _field(17, _field(7, _field(1, b"{")))), "raw value is no JSON"),
    ],
)
def test_what_is_no_pod(raw: bytes, words: str) -> None:
    with pytest.raises(protobuf.BadMessage) as caught:
        protobuf.decode(_pod(raw))
    assert str(caught.value).startswith(words)
    assert (caught.value.kind, caught.value.version) == ("Pod", "v1")


@pytest.mark.parametrize("name", NAMES)
def test_truncated_bodies_are_refused_or_shorter(name: str) -> None:
    _, body = _golden(name)
    for end in range(len(body)):
        try:
            protobuf.decode(body[:end], "v1", "Pod")
        except (protobuf.BadEnvelope, protobuf.BadMessage):
            continue


def test_unknown_fields_are_skipped() -> None:
    unknown = wire.varint(900 << 3) + b"\x05" + _field(901, b"abc") + wire.varint(902 << 3 | 1) + bytes(8)
    unknown += (
        wire.varint(903 << 3 | 5) + bytes(4) + wire.varint(904 << 3 | 3) + b"\x08\x01" + wire.varint(904 << 3 | 4)
    )
    assert protobuf.decode(_pod(unknown + _field(1, unknown + _field(1, b"a")))) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a"},
    }


def test_messages_in_pieces_are_put_together_and_the_last_value_counts() -> None:
    raw = _field(1, _field(1, b"a") + _field(3, b"n")) + _field(1, _field(1, b"b") + _field(3, b""))
    assert protobuf.decode(_pod(raw))["metadata"] == {"name": "b"}


def test_packed_numbers_are_read_as_well() -> None:
    raw = _field(2, _field(14, _field(4, b"\x01\x80\x01") + b"\x20\x05"))
    assert protobuf.decode(_pod(raw))["spec"]["securityContext"] == {"supplementalGroups": [1, 128, 5]}


@pytest.mark.parametrize(("wire_value", "value"), [(2**64 - 1, -1), (2**31, -(2**31)), (2**33 + 7, 7)])
def test_numbers_are_cut_to_their_type(wire_value: int, value: int) -> None:
    raw = _field(2, b"\xc8\x01" + wire.varint(wire_value))  # priority
    assert protobuf.decode(_pod(raw))["spec"] == {"priority": value}


def test_an_envelope_without_a_kind_means_the_one_expected() -> None:
    body = b"k8s\x00" + _field(2, _field(1, _field(1, b"a")))
    assert protobuf.decode(body, "v1", "ConfigMap") == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "a"},
    }


def test_a_custom_kind_has_no_form() -> None:
    with pytest.raises(protobuf.NotMarshalable):
        protobuf.encode({"apiVersion": "example.com/v1", "kind": "Crontab"})
    assert protobuf.decode(protobuf.wrap("example.com/v1", "Crontab", b"")) == {
        "apiVersion": "example.com/v1",
        "kind": "Crontab",
    }


def test_a_field_of_a_wrong_type_is_told() -> None:
    with pytest.raises(protobuf.NotMarshalable, match="v1, Kind=Pod"):
        protobuf.encode({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": 5}})


def test_deep_and_wide_bodies_are_refused_or_read_in_time_that_grows_with_their_size() -> None:
    schema_ = b""
    for _ in range(5000):
        schema_ = _field(28, schema_)  # not
    crd = _field(2, _field(7, _field(4, _field(1, schema_))))
    with pytest.raises(protobuf.BadMessage, match="exceeded max depth"):
        protobuf.decode(protobuf.wrap("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd))
    started = time.perf_counter()
    protobuf.decode(_pod(_field(1, b"") * 100_000))
    protobuf.decode(_pod(_field(1, _field(14, b"x") * 100_000)))
    assert time.perf_counter() - started < 2


def test_frames_have_their_length_before_them() -> None:
    obj, body = _golden("secret")
    frame = protobuf.frame("ADDED", body)
    (length,) = struct.unpack(">I", frame[:4])
    assert length == len(frame) - 4
    assert frame[4:] == _field(1, b"ADDED") + _field(2, _field(1, body))
    assert protobuf.decode(frame[frame.index(b"k8s\x00") :]) == obj
