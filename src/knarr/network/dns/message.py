"""The border to DNS's wire format: questions from bytes, answers to bytes, cut to what the asker takes.

Source: RFC 1035 section 4; RFC 2308 (negative answers); RFC 6891 (EDNS).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dnslib
from dnslib import EDNS0, QTYPE, RR, DNSError, DNSHeader, DNSLabel, DNSQuestion, DNSRecord

from knarr.network.dns.records import TTL_S, Answer, Code, Record, Type

HEADER_BYTES = 12
PLAIN_UDP_BYTES = 512
UDP_BYTES = 1232
"""Largest UDP answer that we announce, safe from fragmentation; askers on the same machine may take more."""
UDP_LIMIT_BYTES = 4096
NEGATIVE_TTL_S = 30
ROTATIONS = 8
"""In how many orders the answer with several addresses is kept."""
_QR, _OPCODE, _TC, _RD, _CD = 0x8000, 0x7800, 0x0200, 0x0100, 0x0010


@dataclass(frozen=True, slots=True)
class Query:
    """A question as it came.

    Attributes:
        id: To be repeated in the answer.
        name: As asked, without the final dot.
        type: The type asked for.
        limit: Most bytes that a UDP answer may have.
        is_recursive: Recursion is desired.
        has_edns: The asker speaks EDNS.
        wants_dnssec: It wants signatures.
        checking_disabled: It checks them itself.
        code: NOERROR, or why it cannot be answered.
    """

    id: int
    name: str
    type: int
    limit: int = PLAIN_UDP_BYTES
    is_recursive: bool = True
    has_edns: bool = False
    wants_dnssec: bool = False
    checking_disabled: bool = False
    code: Code = Code.NOERROR

    @property
    def key(self) -> tuple[str, int, bool, bool]:
        """What makes two questions the same."""
        return self.name.lower(), self.type, self.wants_dnssec, self.checking_disabled


def parse_query(data: bytes) -> Query | None:
    """Read a question.

    Returns:
        The question; with a `code` other than NOERROR if it cannot be answered; None if there is nobody to answer to.
    """
    if len(data) < HEADER_BYTES:
        return None
    flags = int.from_bytes(data[2:4], "big")
    if flags & _QR:
        return None
    id_ = int.from_bytes(data[:2], "big")
    if flags & _OPCODE:
        return Query(id_, "", 0, code=Code.NOTIMP)
    try:
        record = DNSRecord.parse(data)
    except (DNSError, ValueError, IndexError):
        return Query(id_, "", 0, code=Code.FORMERR)
    if len(record.questions) != 1:
        return Query(id_, "", 0, code=Code.FORMERR)
    question = record.questions[0]
    if any(b"." in label for label in question.qname.label):  # as text it would be another name, or none
        return Query(id_, "", 0, code=Code.FORMERR)
    options = [one for one in record.ar if one.rtype == QTYPE.OPT]
    limit, dnssec, code = PLAIN_UDP_BYTES, False, Code.NOERROR
    if options:
        limit = min(max(options[0].rclass, PLAIN_UDP_BYTES), UDP_LIMIT_BYTES)
        dnssec = bool(options[0].ttl & 0x8000)
        if (options[0].ttl >> 16) & 0xFF:
            code = Code.BADVERS
    if question.qclass not in (1, 255):
        code = Code.REFUSED
    return Query(
        id_,
        _to_text(question.qname),
        question.qtype,
        limit,
        bool(flags & _RD),
        bool(options),
        dnssec,
        bool(flags & _CD),
        code,
    )


def format_answer(query: Query, answer: Answer, zone: str, *, serial: int, is_udp: bool) -> list[bytes]:
    """Return an answer about the cluster as bytes, in as many orders as it pays to rotate through.

    Args:
        query: The question.
        answer: The answer; its `follow` has been followed.
        zone: The zone that the name is in, for negative answers.
        serial: Of the zone.
        is_udp: Cut to the asker's limit.
    """
    records = [_to_rr(one, query, zone, serial) for one in answer.records]
    addresses = sum(1 for one in answer.records if one.type in {Type.A, Type.AAAA})
    authority = []
    if not answer.records:
        authority = [_to_rr(Record(zone, Type.SOA), query, zone, serial)]
    additional = [_to_rr(one, query, zone, serial) for one in answer.additional]
    turns = min(len(records), ROTATIONS) if addresses == len(records) and len(records) > 1 else 1
    variants = []
    for turn in range(turns):
        reply = _reply(query, answer.code, is_authoritative=True)
        reply.add_answer(*records[turn:], *records[:turn])
        reply.add_auth(*authority)
        reply.add_ar(*additional)
        variants.append(pack(reply, query, is_udp=is_udp))
    return variants


def format_error(query: Query, code: Code) -> bytes:
    """Return an answer that says only that it went wrong."""
    reply = _reply(query, code)
    return pack(reply, query, is_udp=True)


def format_forwarded(query: Query, upstream: DNSRecord, *, age_s: int, is_udp: bool) -> bytes:
    """Return what another server answered, `age_s` seconds ago, as the answer to a question of ours."""
    reply = _reply(query, Code.NOERROR)
    reply.header.rcode = upstream.header.rcode
    reply.header.ad = upstream.header.ad
    for source, target in ((upstream.rr, reply.rr), (upstream.auth, reply.auth), (upstream.ar, reply.ar)):
        target += [_aged(one, age_s) for one in source if one.rtype != QTYPE.OPT]
    return pack(reply, query, is_udp=is_udp)


def to_records(upstream: DNSRecord) -> list[Record]:
    """Return the aliases and addresses of what another server answered, to be added to an answer of ours."""
    wanted = {Type.A, Type.AAAA, Type.CNAME}
    return [
        Record(_to_text(one.rname), Type(one.rtype), str(one.rdata).rstrip("."), ttl_s=min(int(one.ttl), TTL_S))
        for one in upstream.rr
        if one.rtype in wanted
    ]


def pack(reply: DNSRecord, query: Query, *, is_udp: bool) -> bytes:
    """Encode a reply; over UDP drop from its end what is more than the asker takes, and say so."""
    if query.has_edns:
        extended = (reply.header.rcode >> 4) & 0xFF
        reply.add_ar(EDNS0(udp_len=UDP_BYTES, ext_rcode=extended, flags="do" if query.wants_dnssec else ""))
        reply.header.rcode &= 0xF
    data = bytes(reply.pack())
    if not is_udp or len(data) <= query.limit:
        return data
    options = [one for one in reply.ar if one.rtype == QTYPE.OPT]
    reply.ar = options  # additional records may be left out silently
    data = bytes(reply.pack())
    if len(data) <= query.limit:
        return data
    reply.header.tc = 1
    reply.auth = []
    while len(data) > query.limit and reply.rr:
        excess = len(data) - query.limit
        size = max(1, len(data) // (len(reply.rr) + 1))
        del reply.rr[-max(1, excess // size) :]
        data = bytes(reply.pack())
    return data


def _reply(query: Query, code: Code, *, is_authoritative: bool = False) -> DNSRecord:
    header = DNSHeader(id=query.id, qr=1, aa=int(is_authoritative), ra=1, rd=int(query.is_recursive), rcode=int(code))
    header.cd = int(query.checking_disabled)
    # A malformed question is not repeated: it could not be read.
    questions = [] if query.code in {Code.FORMERR, Code.NOTIMP} else [DNSQuestion(query.name, query.type)]
    return DNSRecord(header, questions=questions)


def _to_rr(record: Record, query: Query, zone: str, serial: int) -> RR:
    # The owner's name is spelled as it was asked, so that askers who mix cases to defeat forgers find it again.
    name = query.name if record.name == query.name.lower() else record.name
    data = record.data
    match record.type:
        case Type.A:
            rdata = dnslib.A(data)
        case Type.AAAA:
            rdata = dnslib.AAAA(data)
        case Type.CNAME:
            rdata = dnslib.CNAME(data)
        case Type.NS:
            rdata = dnslib.NS(data)
        case Type.PTR:
            rdata = dnslib.PTR(data)
        case Type.TXT:
            rdata = dnslib.TXT(data)
        case Type.SRV:
            rdata = dnslib.SRV(0, record.weight, record.port, data)
        case _:
            times = (serial, 7200, 1800, 86400, NEGATIVE_TTL_S)
            rdata = dnslib.SOA(f"ns.dns.{zone}", f"hostmaster.{zone}", times)
    return RR(name, int(record.type), ttl=record.ttl_s, rdata=rdata)


def _aged(record: RR, age_s: int) -> RR:
    return RR(record.rname, record.rtype, record.rclass, max(0, record.ttl - age_s), record.rdata)


def _to_text(name: DNSLabel) -> str:
    return str(name).rstrip(".")


def lowest_ttl(records: Sequence[RR]) -> int:
    """Return the shortest time that any of the records may be kept, in seconds; 0 for none."""
    return min((int(one.ttl) for one in records if one.rtype != QTYPE.OPT), default=0)


def type_name(type_: int) -> str:
    """Return a type as metrics name it: those that everybody asks for by name, the rest together."""
    return Type(type_).name if type_ in set(Type) else "other"


def code_name(reply: bytes) -> str:
    """Return the response code of an encoded reply, as metrics name it."""
    code = reply[3] & 0xF
    return Code(code).name if code in set(Code) else str(code)
