import pytest
from dnslib import EDNS0, DNSRecord
from hypothesis import given
from hypothesis import strategies as st

from knarr.network.dns.message import format_answer, format_error, parse_query
from knarr.network.dns.records import Answer, Code, Record, Type

GOOD = bytes(DNSRecord.question("web.default.svc.cluster.local").pack())
EXTENDED = DNSRecord.question("web.default.svc.cluster.local")
EXTENDED.add_ar(EDNS0(udp_len=4096, flags="do"))
EXTENDED_BYTES = bytes(EXTENDED.pack())


@given(st.binary(max_size=80), st.sampled_from([b"", GOOD[:2], GOOD[:12], GOOD[:20], EXTENDED_BYTES]))
def test_any_bytes_are_a_question_or_not(noise: bytes, start: bytes) -> None:
    query = parse_query(start + noise)
    if query is not None and query.code is not Code.NOERROR:
        assert DNSRecord.parse(format_error(query, query.code)).header.rcode == query.code & 0xF


@given(st.integers(0, len(EXTENDED_BYTES) - 1), st.integers(0, 255))
def test_any_damage_to_a_question_is_answered_or_not(place: int, byte: int) -> None:
    query = parse_query(EXTENDED_BYTES[:place] + bytes([byte]) + EXTENDED_BYTES[place + 1 :])
    if query is not None and query.code is Code.NOERROR:
        answer = Answer((Record(query.name.lower(), Type.A, "10.96.0.5"),))
        for reply in format_answer(query, answer, "cluster.local", serial=1, is_udp=True):
            assert DNSRecord.parse(reply).header.id == query.id


@pytest.mark.parametrize(("size", "limit"), [(100, 512), (512, 512), (1232, 1232), (65535, 4096)])
def test_the_asker_says_how_much_it_takes(size: int, limit: int) -> None:
    question = DNSRecord.question("example.com")
    question.add_ar(EDNS0(udp_len=size))
    query = parse_query(bytes(question.pack()))
    assert query is not None
    assert (query.limit, query.has_edns, query.wants_dnssec) == (limit, True, False)


def test_labels_with_dots_are_no_names() -> None:
    query = parse_query(GOOD.replace(b"\x03web", b"\x03.eb"))
    assert query is not None
    assert query.code is Code.FORMERR


def test_answers_are_not_answered() -> None:
    assert parse_query(bytes(DNSRecord.question("example.com").reply().pack())) is None
