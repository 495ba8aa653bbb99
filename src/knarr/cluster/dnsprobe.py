"""Asks one DNS server one question, to see whether cluster DNS works."""

import asyncio

from dnslib import DNSError, DNSRecord

TIMEOUT_S = 0.5


async def resolve(server: str, name: str, *, port: int = 53) -> list[str]:
    """Return the A records of `name` as `server` gives them; none if it does not answer in half a second."""
    loop = asyncio.get_running_loop()
    query = DNSRecord.question(name)
    answered: asyncio.Future[bytes] = loop.create_future()

    class Protocol(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: object) -> None:
            if not answered.done():
                answered.set_result(data)

        def error_received(self, exc: Exception) -> None:
            if not answered.done():
                answered.set_exception(exc)

    try:
        transport, _ = await loop.create_datagram_endpoint(Protocol, remote_addr=(server, port))
    except OSError:
        return []
    try:
        transport.sendto(query.pack())
        reply = DNSRecord.parse(await asyncio.wait_for(answered, TIMEOUT_S))
    except (TimeoutError, OSError, DNSError):
        return []
    finally:
        transport.close()
    return [str(record.rdata) for record in reply.rr if record.rtype == 1]
