"""The server on a socket: TLS, client certificates, and certificates that are renewed while it runs."""

import asyncio
import datetime
import json
import ssl
from pathlib import Path

from knarr.apiserver import tls
from knarr.apiserver.config import Config, Pair
from knarr.kit import pki
from knarr.kit.clock import FakeClock, SystemClock
from knarr.kit.http.client import Client
from knarr.kit.http.messages import Request
from knarr.store.memory import MemoryBackend
from tests.apiserver.conftest import open_api


class Keys:
    """An authority, a serving certificate and a client's."""

    def __init__(self, folder: Path) -> None:
        self.now = datetime.datetime.now(datetime.UTC)
        self.authority = pki.Authority.create("test", now=self.now)
        self.ca = folder / "ca.crt"
        self.ca.write_bytes(self.authority.pair.certificate)
        self.serving = Pair(certificate=folder / "s.crt", key=folder / "s.key")
        self.client = Pair(certificate=folder / "c.crt", key=folder / "c.key")
        self.issue_serving()
        subject = pki.Subject("jane", ("system:masters",))
        pair = self.authority.issue(subject, [pki.Usage.CLIENT], now=self.now)
        pki.write_pair(pair, self.client.certificate, self.client.key)

    def issue_serving(self) -> None:
        subject = pki.Subject("kube-apiserver", ip_addresses=("127.0.0.1",))
        pair = self.authority.issue(subject, [pki.Usage.SERVER], now=self.now)
        pki.write_pair(pair, self.serving.certificate, self.serving.key)

    def context(self, *, with_client: bool) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca))
        if with_client:
            context.load_cert_chain(self.client.certificate, self.client.key)
        return context


async def test_a_client_certificate_says_who_one_is(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with open_api(clock=SystemClock(), port=0, serving=keys.serving, client_ca=keys.ca) as api:
        url = f"https://127.0.0.1:{api.server.port}"
        jane, nobody = Client(url, tls=keys.context(with_client=True)), Client(url, tls=keys.context(with_client=False))
        try:
            assert (await jane.request(Request("GET", "/api/v1/pods"))).status == 200
            assert (await nobody.request(Request("GET", "/livez"))).status == 200
            refused = await nobody.request(Request("GET", "/api/v1/pods"))
            assert isinstance(refused.body, bytes)
            assert json.loads(refused.body)["message"].startswith(
                'pods is forbidden: User "system:anonymous" cannot list'
            )
        finally:
            await jane.aclose()
            await nobody.aclose()


async def test_the_kubernetes_service_points_at_the_server(tmp_path: Path) -> None:
    keys = Keys(tmp_path)
    async with open_api(port=0, serving=keys.serving, client_ca=keys.ca, advertise_address="192.0.2.1") as api:
        service = await api.ok("GET", "/api/v1/namespaces/default/services/kubernetes")
        assert service["spec"]["clusterIP"] == "10.96.0.1"
        slices = await api.ok("GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        assert (slices["endpoints"][0]["addresses"], slices["ports"][0]["port"]) == (["192.0.2.1"], api.server.port)


async def test_renewed_certificates_are_shown_to_new_connections(tmp_path: Path) -> None:
    keys, clock = Keys(tmp_path), FakeClock()
    config = Config(backend=MemoryBackend(), serving=keys.serving, client_ca=keys.ca)
    context = tls.server_context(config)
    assert context is not None
    task = asyncio.create_task(tls.keep_fresh(context, config, clock))
    first = shown(context, keys)
    await clock.advance(tls.RELOAD_S)
    assert shown(context, keys) == first
    keys.issue_serving()
    await clock.advance(tls.RELOAD_S)
    assert shown(context, keys) != first
    task.cancel()


def shown(server: ssl.SSLContext, keys: Keys) -> bytes | None:
    """Return the certificate that a server with this context shows, by a handshake in memory."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = keys.context(with_client=False).wrap_bio(to_client, to_server, server_hostname="127.0.0.1")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (ours, theirs):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ours.getpeercert(binary_form=True)
