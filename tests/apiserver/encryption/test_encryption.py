"""Encryption at rest through the API server: nothing in the file, everything in the answers, keys that come and go."""

import base64
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from knarr.apiserver.config import Config
from knarr.apiserver.encryption import providers
from knarr.apiserver.encryption.errors import BadCiphertext, Undecryptable
from knarr.apiserver.server import open_apiserver
from knarr.kit.clock import FakeClock
from knarr.store.memory import MemoryBackend
from knarr.store.sqlite import SqliteBackend
from tests.apiserver.conftest import Api
from tests.apiserver.encryption.conftest import Object, keys, write

SECRETS = "/api/v1/namespaces/default/secrets"
PLAIN = b"do not show this to anybody"
KINDS = ["aescbc", "aesgcm", "secretbox"]
IDENTITY: Object = {"identity": {}}


def raw(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("state.db*")))


@contextlib.asynccontextmanager
async def serve(folder: Path, encryption: Path | None = None) -> AsyncIterator[Api]:
    clock = FakeClock()
    config = Config(backend=SqliteBackend(folder / "state.db"), clock=clock, encryption=encryption)
    async with open_apiserver(config) as server:
        yield Api(server, clock)


def stored(folder: Path, key: str) -> list[bytes]:
    connection = sqlite3.connect(f"file:{folder / 'state.db'}?mode=ro", uri=True)
    try:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        rows = [row for table in tables for row in connection.execute(f"select * from {table}")]
    finally:
        connection.close()
    return [
        bytes(column)
        for row in rows
        if key.encode() in row or key in row
        for column in row
        if isinstance(column, bytes | bytearray) and bytes(column) != key.encode()
    ]


@pytest.mark.parametrize("kind", KINDS)
async def test_the_file_holds_no_plain_text(tmp_path: Path, kind: str) -> None:
    config = write(tmp_path / "c", (["secrets"], [keys(kind, "a"), IDENTITY]))
    data = {"password": base64.b64encode(PLAIN).decode()}
    async with serve(tmp_path, config) as api:
        made = await api.ok("POST", SECRETS, {"metadata": {"name": "hidden-thing"}, "data": data})
        listed = await api.ok("GET", SECRETS)
        assert listed["items"][-1]["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        await api.ok(
            "PUT", f"{SECRETS}/hidden-thing", {**made, "type": "Opaque", "data": {**data, "more": data["password"]}}
        )
        past = await api.ok(
            "GET", f"{SECRETS}?resourceVersion={made['metadata']['resourceVersion']}&resourceVersionMatch=Exact"
        )
        assert past["items"][-1]["data"] == data
    content = raw(tmp_path)
    assert data["password"].encode() not in content
    assert PLAIN not in content
    assert b"k8s:enc:%b:v1:keya:" % kind.encode() in content
    async with serve(tmp_path, config) as api:
        found = await api.ok("GET", f"{SECRETS}/hidden-thing")
        assert found["data"] == {**data, "more": data["password"]}
        async with api.watch(f"{SECRETS}?resourceVersion={made['metadata']['resourceVersion']}") as events:
            event = await events.next()
            assert event["object"]["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]


async def test_keys_are_rotated_by_rewriting(tmp_path: Path) -> None:
    path = tmp_path / "c"
    async with serve(tmp_path) as api:
        await api.ok("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    for entry, prefix in (
        ([keys("aescbc", "a"), IDENTITY], b"k8s:enc:aescbc:v1:keya:"),
        ([keys("aescbc", "b", "a")], b"k8s:enc:aescbc:v1:keyb:"),
        ([keys("aesgcm", "c"), keys("aescbc", "b")], b"k8s:enc:aesgcm:v1:keyc:"),
        ([IDENTITY, keys("aesgcm", "c")], b"{"),
    ):
        write(path, (["secrets"], entry))
        async with serve(tmp_path, path) as api:
            before = await api.ok("GET", f"{SECRETS}/s")
            after = await api.ok("PUT", f"{SECRETS}/s", before)
            assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
            assert after["data"] == {"k": "dg=="}
            again = await api.ok("PUT", f"{SECRETS}/s", after)
            assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
        values = stored(tmp_path, "/registry/secrets/default/s")
        assert values[-1].startswith(prefix), values


async def test_the_file_is_followed_while_running(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "c", (["secrets"], [keys("aesgcm", "a"), IDENTITY]))
    async with serve(tmp_path, path) as api:
        await api.ok("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
        write(path, (["secrets"], [keys("aesgcm", "b"), IDENTITY]))
        await api.clock.advance(61)
        assert "cannot read what is stored with k8s:enc:aesgcm:v1:keya:" in caplog.text
        write(path, (["secrets"], [keys("aesgcm", "b", "a"), IDENTITY]))
        await api.clock.advance(61)
        await api.ok("PUT", f"{SECRETS}/s", await api.ok("GET", f"{SECRETS}/s"))
        path.write_text("nonsense")
        await api.clock.advance(61)
        await api.ok("POST", SECRETS, {"metadata": {"name": "t"}, "stringData": {"k": "v"}})
    for name in ("s", "t"):
        assert stored(tmp_path, f"/registry/secrets/default/{name}")[-1].startswith(b"k8s:enc:aesgcm:v1:keyb:")


async def test_a_lost_key_stops_the_server_and_names_the_place(tmp_path: Path) -> None:
    path = write(tmp_path / "c", (["secrets"], [keys("aesgcm", "a"), IDENTITY]))
    async with serve(tmp_path, path) as api:
        await api.ok("POST", SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "v"}})
    write(path, (["secrets"], [keys("aesgcm", "b"), IDENTITY]))
    with pytest.raises(Undecryptable, match='unable to transform key "/registry/secrets/default/s"'):
        async with serve(tmp_path, path):
            pass


@pytest.mark.parametrize("make", [providers.AesCbc, providers.AesGcm, providers.SecretBox])
def test_damaged_values_are_refused(make: type[providers.AesGcm]) -> None:
    provider = make("a", b"k" * 32)
    data = provider.encrypt(b"value" * 10, b"/key")
    assert provider.decrypt(data, b"/key") == b"value" * 10
    for broken in (b"", data[:5], data[:-1], data + b"x"):
        with pytest.raises(BadCiphertext):
            provider.decrypt(broken, b"/key")


def test_a_value_cannot_be_moved_to_another_place() -> None:
    provider = providers.AesGcm("a", b"k" * 32)
    with pytest.raises(BadCiphertext):
        provider.decrypt(provider.encrypt(b"value", b"/a"), b"/b")


def test_what_others_wrote_can_be_read() -> None:
    # printf value | openssl enc -aes-256-cbc -K 6b6b… -iv 0000… | base64
    provider = providers.AesCbc("a", b"k" * 32)
    assert provider.decrypt(bytes(16) + base64.b64decode("jVihRff8sNY0C5RIOcv+tw=="), b"") == b"value"


async def test_memory_needs_no_file_of_keys() -> None:
    async with open_apiserver(Config(backend=MemoryBackend())) as server:
        assert not server.parts.is_stale(b"/registry/secrets/default/x")
