"""Forgets translated UDP flows whose endpoint is gone, so that clients that keep their socket reach a living one.

TCP heals by itself: a reset closes the connection. A UDP flow goes on for as long as packets come, to wherever it was first sent.

Source: pkg/proxy/conntrack/cleanup.go (v1.37).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from knarr.network import commands
from knarr.network.errors import CommandFailed
from knarr.network.proxy.services import ServicePort

_FIELD = re.compile(r"\b(src|dst|sport|dport)=(\S+)")


@dataclass(frozen=True, slots=True)
class Flow:
    """A tracked UDP flow.

    Attributes:
        source: Who asks.
        source_port: From which port.
        destination: Whom it asks.
        destination_port: On which port.
        answerer: Who answers: differs from `destination` when translated.
        answerer_port: From which port.
    """

    source: str
    source_port: int
    destination: str
    destination_port: int
    answerer: str
    answerer_port: int


def parse_flows(text: str) -> list[Flow]:
    """Read what `conntrack -L -p udp` prints."""
    flows = []
    for line in text.splitlines():
        values = [value for _, value in _FIELD.findall(line)]
        if len(values) == 8:
            src, dst, sport, dport, reply_src, _, reply_sport, _ = values
            flows.append(Flow(src, int(sport), dst, int(dport), reply_src, int(reply_sport)))
    return flows


def stale_flows(flows: Iterable[Flow], ports: Sequence[ServicePort]) -> list[Flow]:
    """Return the flows to addresses and node ports of `ports` that do not end at one of their endpoints."""
    targets: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for port in ports:
        if port.protocol != "udp":
            continue
        ends = {(one.address, one.port) for one in (*port.endpoints, *port.local_endpoints)}
        for address in (*port.cluster_ips, *port.external_ips, *port.balancer_ips):
            targets.setdefault((address, port.port), set()).update(ends)
        if port.node_port:
            targets.setdefault(("", port.node_port), set()).update(ends)
    return [flow for flow in flows if _is_stale(flow, targets)]


def _is_stale(flow: Flow, targets: dict[tuple[str, int], set[tuple[str, int]]]) -> bool:
    ends = targets.get((flow.destination, flow.destination_port))
    if ends is not None:
        return (flow.answerer, flow.answerer_port) not in ends
    ends = targets.get(("", flow.destination_port))
    if ends is None or flow.answerer == flow.destination:
        return False  # not a node port, or not translated: perhaps another machine's port of the same number
    return (flow.answerer, flow.answerer_port) not in ends


async def forget_stale_flows(ports: Sequence[ServicePort]) -> int:
    """Remove stale flows to `ports` from the kernel; return how many there were.

    Raises:
        CommandFailed: The table of flows could not be read.
    """
    if not any(port.protocol == "udp" for port in ports):
        return 0
    stale = stale_flows(parse_flows(await commands.run(["conntrack", "-L", "-p", "udp"])), ports)
    for flow in stale:
        command = ["conntrack", "-D", "-p", "udp", "-s", flow.source, "-d", flow.destination]
        try:
            await commands.run([*command, "--sport", str(flow.source_port), "--dport", str(flow.destination_port)])
        except CommandFailed:
            continue  # it ended by itself in between
    return len(stale)
