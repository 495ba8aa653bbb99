import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.kit import lazypackage


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = "lazily_imported"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("value = 'own'\n")
    (folder / "part.py").write_text("value = 'part'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield name
    for key in [key for key in sys.modules if key.partition(".")[0] == name]:
        del sys.modules[key]


def test_submodules_come_without_the_package_and_its_attributes_with_it(package: str) -> None:
    lazypackage.install(package)
    module = sys.modules[package]
    part = __import__(f"{package}.part").part
    assert part.value == "part"
    assert lazypackage.is_pending(module)
    assert module.value == "own"
    assert not lazypackage.is_pending(module)
    with pytest.raises(AttributeError):
        _ = module.missing


def test_what_is_imported_already_stays(package: str) -> None:
    module = __import__(package)
    lazypackage.install(package)
    assert sys.modules[package] is module
    assert not lazypackage.is_pending(module)


def test_the_models_come_without_lightkubes_client() -> None:
    lines = (
        "import knarr, sys",
        "from lightkube.models import core_v1",
        "assert 'lightkube.core.client' not in sys.modules",
        "from lightkube import Client",
        "assert Client.__module__ in sys.modules",
    )
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
