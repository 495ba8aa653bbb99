import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.node.streaming.spdy import DICTIONARY, MAX_DATA, Event, Framer, Kind, SpdyError


def test_dictionary_is_the_specifications() -> None:
    assert len(DICTIONARY) == 1423
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2  # stands in the first header block of every connection


def test_streams_are_opened_answered_and_ended() -> None:
    client, server = Framer(client=True), Framer(client=False)
    first, opening = client.open({"streamType": "stdout"})
    second, more = client.open({"streamtype": "stdin"}, fin=True)
    assert (first, second) == (1, 3)
    assert list(server.feed(opening + more)) == [
        Event(Kind.OPENED, 1, headers={"streamtype": "stdout"}),
        Event(Kind.OPENED, 3, headers={"streamtype": "stdin"}, fin=True),
    ]
    answer = server.reply(1, {}) + server.data(1, b"hi") + server.data(1, b"", fin=True)
    assert list(client.feed(answer)) == [
        Event(Kind.REPLIED, 1, headers={}),
        Event(Kind.DATA, 1, b"hi"),
        Event(Kind.DATA, 1, b"", fin=True),
    ]


@given(st.lists(st.binary(max_size=50), max_size=8), st.integers(1, 7))
def test_bytes_may_come_in_any_pieces(payloads: list[bytes], size: int) -> None:
    client, server = Framer(client=True), Framer(client=False)
    stream, wire = client.open({"a": "b"})
    wire += b"".join(client.data(stream, payload) for payload in payloads)
    events = [event for at in range(0, len(wire), size) for event in server.feed(wire[at : at + size])]
    assert [event.data for event in events[1:]] == payloads


def test_long_data_goes_in_several_frames() -> None:
    events = list(Framer(client=False).feed(Framer(client=True).data(1, bytes(MAX_DATA + 1), fin=True)))
    assert [(len(event.data), event.fin) for event in events] == [(MAX_DATA, False), (1, True)]


def test_ping_reset_and_goaway() -> None:
    framer = Framer(client=True)
    goaway = b"\x80\x03\x00\x07\x00\x00\x00\x08" + bytes(8)
    assert [(e.kind, e.stream) for e in Framer(client=True).feed(framer.pong(2) + framer.reset(5) + goaway)] == [
        (Kind.PING, 2),
        (Kind.RESET, 5),
        (Kind.GOAWAY, 0),
    ]


def test_another_version_is_refused() -> None:
    with pytest.raises(SpdyError, match="SPDY version 2"):
        list(Framer(client=True).feed(b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01"))
