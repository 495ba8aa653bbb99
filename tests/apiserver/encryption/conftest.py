"""The backend that encrypts, under the contract of all backends."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.apiserver.encryption.backend import EncryptedBackend
from knarr.store.backend import Backend
from knarr.store.memory import MemoryBackend
from knarr.store.sqlite import SqliteBackend
from tests.store.conftest import backend, feed

__all__ = ["backend", "feed"]

Object = dict[str, Any]


def secret(letter: str) -> str:
    return base64.b64encode(letter.encode() * 32).decode()


def keys(kind: str, *letters: str) -> Object:
    return {kind: {"keys": [{"name": f"key{letter}", "secret": secret(letter)} for letter in letters]}}


def write(path: Path, *entries: tuple[list[str], list[Object]]) -> Path:
    config = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": resources, "providers": providers} for resources, providers in entries],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(params=["memory-aesgcm", "sqlite-aescbc", "memory-secretbox"])
def make_backend(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Backend]:
    store, _, kind = request.param.partition("-")
    config = write(tmp_path / "encryption.yaml", (["*.*"], [keys(kind, "a"), {"identity": {}}]))
    if store == "memory":
        return lambda: EncryptedBackend(MemoryBackend(), config)
    return lambda: EncryptedBackend(SqliteBackend(tmp_path / "state.db"), config)
