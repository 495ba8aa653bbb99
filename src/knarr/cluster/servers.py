"""Which API servers there are, as a node knows them: the balancer on this machine that leads to whichever lives.

The list is that of the Service `kubernetes`, whose endpoints are the servers; it is kept in a file, for a start while the server
through which the machine once joined is gone. That server's address stays the last resort.

A balancer on every machine, and not a list of addresses in every client, because kubeconfig knows one server: kubectl, Helm and
whatever else runs on the machine fail over with it, unchanged. k3s decided the same way.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from lightkube.models import discovery_v1

from knarr.cluster.errors import UsageError
from knarr.control.informer import Informers
from knarr.kit import balancer, pki
from knarr.kit.balancer import Health, Target
from knarr.kit.clock import Clock
from knarr.kit.http import client as http_client
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Request

API_PORT = 6443
FILE = "servers.json"
PROBE_TIMEOUT_S = 3.0
_SERVICE = "kubernetes"


def parse(url: str) -> Target:
    """Return where the server of a URL listens.

    Raises:
        UsageError: It is no https URL of a server.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as err:
        raise UsageError(f"{url!r}: {err}") from err
    if parts.scheme != "https" or not host or parts.path.strip("/") or parts.query:
        raise UsageError(f"{url!r}: expected an address such as https://192.0.2.1:{API_PORT}")
    return Target(host, port or API_PORT)


def to_url(target: Target) -> str:
    """Return the URL of a server."""
    host = f"[{target.host}]" if ":" in target.host else target.host
    return f"https://{host}:{target.port}"


def load(folder: Path, *, last: str = "", first: str = "") -> list[Target]:
    """Return the servers that were known last.

    Args:
        folder: The agent's.
        last: The URL of the last resort; empty for none.
        first: The URL of one that is preferred; empty for none.
    """
    try:
        known = msgspec.json.decode((folder / FILE).read_bytes(), type=list[str])
    except (FileNotFoundError, msgspec.MsgspecError):  # of an older release, or cut off: the others do
        known = []
    urls = [first, *known, last]
    return [*dict.fromkeys(parse(url) for url in urls if url)]


def save(folder: Path, targets: Sequence[Target]) -> None:
    """Keep the list for the next start."""
    pki.write_file(folder / FILE, msgspec.json.encode([to_url(target) for target in targets]) + b"\n")


def find_targets(slices: Sequence[discovery_v1.EndpointSlice]) -> list[Target]:
    """Return the servers in the EndpointSlices of the Service `kubernetes`."""
    found: set[Target] = set()
    for one in slices:
        ports = [port.port for port in one.ports or () if port.port]
        addresses = [address for endpoint in one.endpoints or () for address in endpoint.addresses]
        found.update(Target(address, port) for address in addresses for port in ports)
    return sorted(found)


@contextlib.asynccontextmanager
async def open_balancer(
    folder: Path, clock: Clock, *, port: int, last: str = "", first: str = ""
) -> AsyncIterator[balancer.Balancer]:
    """Pass on connections to 127.0.0.1:`port` to a server that lives.

    Args:
        folder: The agent's: its certificates, and the list.
        clock: Times probes.
        port: Where to listen.
        last: The URL of the last resort.
        first: The URL of the server that is preferred: the one on this machine.
    """
    probe = Probe(folder)
    async with balancer.open_balancer(load(folder, last=last, first=first), probe, clock=clock, port=port) as opened:
        yield opened


def follow(informers: Informers, opened: balancer.Balancer, folder: Path, *, last: str = "", first: str = "") -> None:
    """Keep a balancer's servers as the Service `kubernetes` has them."""
    slices = informers.of(discovery_v1.EndpointSlice)
    ends = [parse(url) for url in (first, last) if url]

    def look(old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None) -> None:
        one = new or old
        labels = (one.metadata.labels or {}) if one and one.metadata else {}
        if one is None or one.metadata is None or one.metadata.namespace != "default":
            return
        if labels.get("kubernetes.io/service-name") != _SERVICE:
            return
        found = find_targets([obj for obj in slices.list("default") if _is_ours(obj)])
        if not found:
            return  # all of them just begin: those of before are as good as any
        known = [target for target in opened.targets if target in found]  # whom one has, one keeps
        fresh = [target for target in found if target not in known]
        targets = [*dict.fromkeys((*ends[: 1 if first else 0], *known, *fresh, *ends[1 if first else 0 :]))]
        if tuple(targets) != opened.targets:
            opened.replace(targets)
            save(folder, found)

    slices.on_change(look)


def _is_ours(obj: discovery_v1.EndpointSlice) -> bool:
    return bool(obj.metadata and (obj.metadata.labels or {}).get("kubernetes.io/service-name") == _SERVICE)


class Probe:
    """Asks a server whether it is ready, over a connection that is kept.

    Args:
        folder: Has the authority's certificate.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clients: dict[Target, http_client.Client] = {}

    async def __call__(self, target: Target) -> Health:
        """Look at a server: its /readyz needs no credentials."""
        client = self._clients.get(target)
        if client is None:
            tls = ssl.create_default_context(cafile=self._folder / "ca.crt")
            timeouts = http_client.Timeouts(connect_s=PROBE_TIMEOUT_S, response_s=PROBE_TIMEOUT_S)
            client = self._clients[target] = http_client.Client(to_url(target), tls=tls, timeouts=timeouts)
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                response = await client.request(Request("GET", "/readyz"))
        except (http_errors.HttpError, TimeoutError):
            return Health.DEAD
        return Health.WELL if response.status == 200 else Health.REFUSING
