"""What DNS answers are made of, and what they are made from: plain values without wire format and without API objects."""

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

TTL_S = 30


class Type(IntEnum):
    """Record types that cluster names have. Source: RFC 1035, RFC 3596, RFC 2782."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    ANY = 255


class Code(IntEnum):
    """Response codes. Source: RFC 1035 section 4.1.1, RFC 6891 section 9."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    BADVERS = 16


@dataclass(frozen=True, slots=True)
class Record:
    """A resource record.

    Attributes:
        name: Its owner, without the final dot.
        type: Its type.
        data: An address, a name without the final dot, or a text; for SRV the target.
        port: For SRV.
        weight: For SRV.
        ttl_s: How long it may be kept, in seconds.
    """

    name: str
    type: Type
    data: str = ""
    port: int = 0
    weight: int = 0
    ttl_s: int = TTL_S


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question about the cluster.

    Attributes:
        records: For the answer section; empty with NOERROR means that the name has no records of this type.
        additional: For the additional section.
        code: How it went.
        follow: A name whose records are to be added, because the last record is an alias of it.
    """

    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    code: Code = Code.NOERROR
    follow: str = ""


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a Service or endpoint.

    Attributes:
        name: Its name, or "".
        protocol: "tcp", "udp" or "sctp".
        number: Its number.
    """

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint that is ready.

    Attributes:
        address: IP address.
        hostname: The label below the Service's name under which it is found.
        ports: Its ports.
    """

    address: str
    hostname: str
    ports: tuple[Port, ...] = ()


@dataclass(frozen=True, slots=True)
class Service:
    """What DNS knows of a Service.

    Attributes:
        name: Its name.
        namespace: Its namespace.
        addresses: Cluster addresses; empty for headless ones.
        ports: Its ports.
        endpoints: Ready endpoints.
        external_name: What an ExternalName Service is an alias of, else "".
    """

    name: str
    namespace: str
    addresses: tuple[str, ...] = ()
    ports: tuple[Port, ...] = ()
    endpoints: tuple[Endpoint, ...] = field(default=())
    external_name: str = ""


class View(Protocol):
    """Where answers look."""

    def has_namespace(self, name: str) -> bool:
        """Tell whether a namespace exists."""

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a Service."""

    def owners(self, address: str) -> list[str]:
        """Return the names that an address has, relative to the cluster domain ("web.default.svc")."""
