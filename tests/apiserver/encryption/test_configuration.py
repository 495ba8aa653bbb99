"""Which resources are encrypted, and files that cannot be used."""

from pathlib import Path

import pytest

from knarr.apiserver.encryption import configuration
from knarr.apiserver.encryption.errors import BadConfiguration
from tests.apiserver.encryption.conftest import Object, keys, secret, write

IDENTITY: Object = {"identity": {}}
A = keys("aescbc", "a")
_A = b"k8s:enc:aescbc:v1:keya:"


@pytest.mark.parametrize(
    ("resources", "key", "is_encrypted"),
    [
        (["secrets"], b"/registry/secrets/default/a", True),
        (["secrets"], b"/registry/configmaps/default/a", False),
        (["nodes"], b"/registry/minions/n1", True),
        (["services"], b"/registry/services/specs/default/a", True),
        (["services"], b"/registry/services/endpoints/default/a", False),
        (["deployments.apps"], b"/registry/deployments/default/a", True),
        (["deployments"], b"/registry/deployments/default/a", False),
        (["*.apps"], b"/registry/deployments/default/a", True),
        (["*."], b"/registry/secrets/default/a", True),
        (["*."], b"/registry/deployments/default/a", False),
        (["*.*"], b"/registry/events/default/a", True),
        (["pandas.awesome.bears.example"], b"/registry/awesome.bears.example/pandas/default/a", True),
        (["*.awesome.bears.example"], b"/registry/awesome.bears.example/pandas/default/a", True),
        (["*.bears.example"], b"/registry/awesome.bears.example/pandas/default/a", False),
    ],
)
def test_what_is_encrypted(tmp_path: Path, resources: list[str], key: bytes, is_encrypted: bool) -> None:
    found = configuration.load(write(tmp_path / "c", (resources, [A])))
    assert found.of_key(key).prefix == (_A if is_encrypted else b"")


def test_the_first_entry_that_names_a_resource_decides(tmp_path: Path) -> None:
    found = configuration.load(write(tmp_path / "c", (["events"], [IDENTITY]), (["*.*"], [A])))
    assert found.of_key(b"/registry/events/d/e").prefix == b""
    assert found.of_key(b"/registry/secrets/d/e").prefix == _A


BAD = [
    ((["secrets"], []), "at least one resources[0].providers is required"),
    (([], [A]), "at least one resources[0].resources is required"),
    ((["secrets", "secrets"], [A]), "cannot be specified multiple times"),
    ((["secrets", "*."], [A]), "overlapping"),
    ((["Secrets"], [A]), "capital letters"),
    ((["*"], [A]), "use '*.'"),
    ((["secrets.*"], [A]), "across groups"),
    ((["a.extensions"], [A]), "has been removed"),
    ((["events.events.k8s.io"], [A]), "Use 'events' instead"),
    ((["secrets"], [{**A, **IDENTITY}]), "more than one provider"),
    ((["secrets"], [{"rot13": {}}]), "does not contain any of the expected providers"),
    ((["secrets"], [{"kms": {"name": "x"}}]), "not supported"),
    ((["secrets"], [{"aescbc": {"keys": []}}]), "at least one keys is required"),
    ((["secrets"], [{"aescbc": {"keys": [{"name": "a"}]}}]), "secret is a mandatory field for a key"),
    ((["secrets"], [{"aescbc": {"keys": [{"name": "a", "secret": "?"}]}}]), "base64"),
    (
        (["secrets"], [{"secretbox": {"keys": [{"name": "a", "secret": secret("a")[:20]}]}}]),
        "got 15, expected one of [32]",
    ),
    ((["secrets"], [{"aescbc": []}]), "at least one keys"),
    ((["secrets"], ["aescbc"]), "does not contain any"),
]


@pytest.mark.parametrize(("entry", "words"), BAD)
def test_files_that_cannot_be_used(tmp_path: Path, entry: tuple[list[str], list[Object]], words: str) -> None:
    path = write(tmp_path / "c", entry)
    with pytest.raises(BadConfiguration) as caught:
        configuration.load(path)
    assert words in str(caught.value)
    assert "YWFh" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "kind: Pod\napiVersion: v1\n",
        "[]",
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\n",
    ],
)
def test_files_of_another_kind(tmp_path: Path, content: str) -> None:
    path = tmp_path / "c"
    with pytest.raises(BadConfiguration):
        configuration.load(path)
    path.write_text(content)
    with pytest.raises(BadConfiguration):
        configuration.load(path)
