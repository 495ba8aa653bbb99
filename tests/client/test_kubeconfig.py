from pathlib import Path

import pytest
import yaml

from knarr.client import errors, kubeconfig


def config(name: str, server: str = "https://127.0.0.1:6443") -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {"token": "t"}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }


def names(path: Path, section: str) -> list[str]:
    return [entry["name"] for entry in yaml.safe_load(path.read_text())[section]]


def test_merge_makes_a_private_file_and_folder(tmp_path: Path) -> None:
    path = tmp_path / "kube" / "config"
    kubeconfig.merge(path, config("a"))
    assert path.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(path.read_text())["current-context"] == "a"
    assert [entry.name for entry in path.parent.iterdir()] == ["config"]


def test_merge_replaces_its_own_and_keeps_others(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, config("other"))
    kubeconfig.merge(path, config("a"))
    kubeconfig.merge(path, config("a", "https://127.0.0.1:6444"))
    assert names(path, "clusters") == ["other", "a"]
    assert kubeconfig.load(path)["clusters"][1]["cluster"]["server"] == "https://127.0.0.1:6444"


def test_merge_tightens_the_mode_of_a_file_that_others_may_read(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(yaml.safe_dump(config("other")))
    path.chmod(0o644)
    kubeconfig.merge(path, config("a"))
    assert path.stat().st_mode & 0o777 == 0o600


def test_remove_takes_the_context_and_unsets_it(tmp_path: Path) -> None:
    path = tmp_path / "config"
    kubeconfig.merge(path, config("other"))
    kubeconfig.merge(path, config("a"))
    kubeconfig.remove(path, "a")
    assert names(path, "users") == ["other"]
    assert kubeconfig.load(path)["current-context"] == ""


@pytest.mark.parametrize("text", ["a: [", "- a list", "clusters: {a: b}", "users: [nameless]"])
def test_a_file_that_is_no_kubeconfig_stays_as_it_is(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(errors.BadKubeconfig, match=str(path)):
        kubeconfig.merge(path, config("a"))
    assert path.read_text() == text
    assert not path.with_name("config.lock").exists()


def test_a_lock_that_is_held_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "LOCK_TIMEOUT_S", 0.1)
    path = tmp_path / "config"
    path.with_name("config.lock").touch()
    with pytest.raises(errors.KubeconfigLocked, match=r"config\.lock exists"):
        kubeconfig.merge(path, config("a"))


def test_the_file_is_the_first_of_kubeconfig_that_exists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    monkeypatch.setenv("KUBECONFIG", f"{first}:{second}")
    assert kubeconfig.default_path() == second
    first.touch()
    assert kubeconfig.default_path() == first
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert kubeconfig.default_path() == tmp_path / ".kube" / "config"
