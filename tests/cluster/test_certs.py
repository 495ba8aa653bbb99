"""What a second server is given, and who can read it."""

from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from lightkube.models import core_v1

from knarr.api import user
from knarr.apiserver.config import Config
from knarr.apiserver.server import open_apiserver
from knarr.client import Client, transport
from knarr.cluster import certs, serveroptions, tokens
from knarr.cluster.errors import ClusterError, UsageError
from knarr.cluster.layout import Layout
from knarr.store.memory import MemoryBackend


def layout(folder: Path, options: serveroptions.ServerOptions) -> Layout:
    made = Layout("prod", folder / "lib", folder / "run")
    made.create()
    for name in ("ca.crt", "ca.key", "front-proxy-ca.crt", "front-proxy-ca.key", "sa.key"):
        (made.pki / name).write_text(name)
    serveroptions.save(made, options)
    return made


async def test_what_servers_share_comes_over_whole_and_only_with_the_key(tmp_path: Path) -> None:
    outside = tmp_path / "outside.yaml"
    outside.write_text("x")
    options = serveroptions.ServerOptions(
        store="etcd://192.0.2.1:2379",
        etcd_cafile="etcd/ca.crt",
        encryption_provider_config="encryption.yaml",
        audit_policy_file=str(outside),
    )
    first = layout(tmp_path / "first", options)
    (first.data / "etcd").mkdir()
    (first.data / "etcd" / "ca.crt").write_text("etcd authority")
    (first.data / "encryption.yaml").write_text("secret")
    files = certs.collect(first)
    assert certs.elsewhere(first) == [str(outside)]
    async with open_apiserver(Config(backend=MemoryBackend())) as server:
        admin = Client(transport.InProcessTransport(server.handler, user.User("admin", (user.MASTERS,))))
        token = await tokens.create(admin, ttl_s=60)
        await certs.upload(admin, files, token)
        key = await certs.upload(admin, files, token)
        secret = await admin.get(core_v1.Secret, certs.NAME, namespace=certs.NAMESPACE)
        assert secret.metadata and secret.metadata.ownerReferences
        assert secret.metadata.ownerReferences[0].name == f"bootstrap-token-{token[:6]}"
        found = await certs.download(admin, key)
        assert found == files
        with pytest.raises(ClusterError, match="another --certificate-key"):
            await certs.download(admin, "00" * certs.KEY_BYTES)
        with pytest.raises(UsageError, match="64 hexadecimal digits"):
            await certs.download(admin, "abc")
        await admin.delete(core_v1.Secret, certs.NAME, namespace=certs.NAMESPACE)
        with pytest.raises(ClusterError, match="not there"):
            await certs.download(admin, key)
    second = Layout("prod", tmp_path / "second" / "lib", tmp_path / "second" / "run")
    second.create()
    certs.write(second, found)
    assert serveroptions.load(second) == options
    for path in (second.pki / "ca.key", second.data / "etcd" / "ca.crt", second.data / "encryption.yaml"):
        assert path.stat().st_mode & 0o777 == 0o600
    assert (second.data / "encryption.yaml").read_text() == "secret"


def test_a_store_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="knarr up --store etcd://"):
        certs.collect(layout(tmp_path, serveroptions.ServerOptions()))


def test_paths_do_not_lead_out_of_the_data_folder(tmp_path: Path) -> None:
    made = Layout("prod", tmp_path / "lib", tmp_path / "run")
    made.create()
    with pytest.raises(ClusterError, match="no path below"):
        certs.write(made, {"../../etc/passwd": b""})


def test_what_was_changed_is_not_decrypted() -> None:
    key = bytes(certs.KEY_BYTES)
    sealed = bytearray(certs.encrypt(key, b"text"))
    assert certs.decrypt(key, bytes(sealed)) == b"text"
    sealed[-1] ^= 1
    with pytest.raises(InvalidTag):
        certs.decrypt(key, bytes(sealed))
