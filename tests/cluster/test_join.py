"""A machine joins over TLS with a token: discovery, the two certificates, and what is refused on the way."""

import contextlib
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from lightkube.models import certificates_v1, core_v1, meta_v1

from knarr.api import user
from knarr.apiserver.config import Config, Pair
from knarr.apiserver.server import open_apiserver
from knarr.client import Client, transport
from knarr.cluster import join, tokens
from knarr.cluster.errors import ClusterError, UsageError, WaitTimeout
from knarr.cluster.settings import Facts
from knarr.control import context as contexts
from knarr.controllers import bootstrapsigner, csrapproving, csrsigning
from knarr.kit import clock as clocks
from knarr.kit import pki
from knarr.kit.tasks import Supervisor
from knarr.store.memory import MemoryBackend

FACTS = Facts("10.100.0.0/16", "10.200.0.0/16", "cluster.test")


@dataclass
class Cluster:
    url: str
    admin: Client
    authority: pki.Authority


@contextlib.asynccontextmanager
async def open_cluster(folder: Path) -> AsyncIterator[Cluster]:
    authority = pki.Authority.create("ca", now=datetime.now(UTC))
    pki.write_file(folder / "ca.crt", authority.pair.certificate)
    server_pair = authority.issue(
        pki.Subject("kube-apiserver", ip_addresses=("127.0.0.1",)), [pki.Usage.SERVER], now=datetime.now(UTC)
    )
    pki.write_pair(server_pair, folder / "server.crt", folder / "server.key")
    serving = Pair(certificate=folder / "server.crt", key=folder / "server.key")
    clock, random = clocks.SystemClock(), Random(1)
    config = Config(backend=MemoryBackend(), port=0, serving=serving, client_ca=folder / "ca.crt")
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(open_apiserver(config))
        options = contexts.Options(signing_certificate=authority.pair.certificate, signing_key=authority.pair.key)
        client_for = contexts.in_process(server.handler, "kube-controller-manager", clock)
        context = await stack.enter_async_context(
            contexts.open_context(client_for, "kube-controller-manager", clock=clock, random=random, options=options)
        )
        tasks = await stack.enter_async_context(Supervisor(clock=clock))
        for account, module in (
            ("certificate-controller", csrapproving),
            ("certificate-controller", csrsigning),
            ("bootstrap-signer", bootstrapsigner),
        ):
            tasks.run(module.__name__, module.build(context.named(account)).run)
        admin = Client(transport.InProcessTransport(server.handler, user.User("admin", (user.MASTERS,))))
        url = f"https://127.0.0.1:{server.port}"
        for _ in range(2):
            await join.ensure_objects(admin, url=url, authority=authority.pair.certificate, facts=FACTS)
        yield Cluster(url, admin, authority)


async def signed(cluster: Cluster, token: str) -> None:
    key = bootstrapsigner.PREFIX + token.partition(".")[0]
    clock = clocks.SystemClock()
    for _ in range(200):
        info = await cluster.admin.get(core_v1.ConfigMap, "cluster-info", namespace="kube-public")
        if key in (info.data or {}):
            return
        await clock.sleep(0.02)
    raise AssertionError("cluster-info was not signed")


async def test_a_machine_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "POLL_S", 0.02)
    async with open_cluster(tmp_path) as cluster:
        token = await tokens.create(cluster.admin, ttl_s=600)
        await signed(cluster, token)
        folder = tmp_path / "agent"
        folder.mkdir()
        hash_of_key = pki.certificate_hash(cluster.authority.pair.certificate)
        await join.join(cluster.url, token, join.Node("n1", ("10.1.2.3",)), folder, ca_hash=hash_of_key, timeout_s=20)
        names = sorted(path.name for path in folder.iterdir())
        assert names == ["ca.crt", "client.crt", "client.key", "serving.crt", "serving.key"]
        client = x509.load_pem_x509_certificate((folder / "client.crt").read_bytes())
        assert client.subject.rfc4514_string() == "CN=system:node:n1,O=system:nodes"
        served = x509.load_pem_x509_certificate((folder / "serving.crt").read_bytes())
        alternatives = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert alternatives.get_values_for_type(x509.DNSName) == ["n1", "localhost"]
        assert (folder / "client.key").stat().st_mode & 0o777 == 0o600
        requests = (await cluster.admin.list(certificates_v1.CertificateSigningRequest)).items
        messages = sorted(
            one.status.conditions[0].message or "" for one in requests if one.status and one.status.conditions
        )
        assert [message[:32] for message in messages] == [
            "Auto approving kubelet client ce",
            "Auto approving kubelet serving c",
        ]


async def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "POLL_S", 0.02)
    async with open_cluster(tmp_path) as cluster:
        token = await tokens.create(cluster.admin, ttl_s=600)
        await signed(cluster, token)
        with pytest.raises(UsageError, match="does not look like one"):
            await join.discover(cluster.url, "nonsense")
        with pytest.raises(UsageError, match="64 hexadecimal"):
            await join.discover(cluster.url, token, ca_hash="md5:1")
        with pytest.raises(ClusterError, match="expected sha256:0000"):
            await join.discover(cluster.url, token, ca_hash=f"sha256:{'0' * 64}")
        with pytest.raises(ClusterError, match="does not know the token's secret"):
            await join.discover(cluster.url, f"{token[:7]}{'x' * 16}")
        with pytest.raises(ClusterError, match="is not known at"):
            await join.discover(cluster.url, "zzzzzz.0123456789abcdef")
        other = transport.HttpsTransport(
            cluster.url,
            credentials=join.Token(token),
            tls=ssl.create_default_context(cadata=cluster.authority.pair.certificate.decode()),
        )
        for subject in (pki.Subject("admin", ("system:masters",)), pki.Subject("system:node:n1", ("system:masters",))):
            with pytest.raises(WaitTimeout):
                await join.request_certificate(
                    Client(other), "kubernetes.io/kube-apiserver-client-kubelet", subject,
                    clock=clocks.SystemClock(), timeout_s=0.1,
                )  # fmt: skip
        await other.aclose()


async def test_a_node_learns_the_cluster_and_renews_what_ends_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(join, "POLL_S", 0.02)
    clock = clocks.SystemClock()
    async with open_cluster(tmp_path) as cluster:
        token = await tokens.create(cluster.admin, ttl_s=600)
        await signed(cluster, token)
        folder = tmp_path / "agent"
        folder.mkdir()
        node = join.Node("n1", ("10.1.2.3",))
        await join.join(cluster.url, token, node, folder, timeout_s=20)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        async with join.open_node(cluster.url, folder) as as_node:
            assert await join.read_facts(as_node) == FACTS
            now = datetime.now(UTC)
            assert not await join.renew(as_node, node, folder, now=now, clock=clock)
            assert await join.renew(as_node, node, folder, now=now + timedelta(days=300), clock=clock)
            after = {path.name: path.read_bytes() for path in folder.iterdir()}
            changed = {name for name in after if after[name] != before[name]}
            assert changed == {"client.crt", "client.key", "serving.crt", "serving.key"}
            moved = join.Node("n1", ("10.9.9.9",))
            assert await join.renew(as_node, moved, folder, now=now, clock=clock)
        assert (folder / "client.crt").read_bytes() == after["client.crt"]
        served = x509.load_pem_x509_certificate((folder / "serving.crt").read_bytes())
        alternatives = served.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert "10.9.9.9" in [str(one) for one in alternatives.get_values_for_type(x509.IPAddress)]


async def test_the_name_of_a_node_that_is_ready_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(join, "POLL_S", 0.02)
    async with open_cluster(tmp_path) as cluster:
        token = await tokens.create(cluster.admin, ttl_s=600)
        await signed(cluster, token)
        node = core_v1.Node(metadata=meta_v1.ObjectMeta(name="n1"))
        made = await cluster.admin.create(node)
        made.status = core_v1.NodeStatus(conditions=[core_v1.NodeCondition(type="Ready", status="True")])
        await cluster.admin.update(made, subresource="status")
        folder = tmp_path / "agent"
        folder.mkdir()
        with pytest.raises(ClusterError, match='a Node with name "n1" and status "Ready" already exists'):
            await join.join(cluster.url, token, join.Node("n1", ("10.1.2.3",)), folder, timeout_s=20)
