import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knarr.node.volumes.atomic import check_path, write
from knarr.node.volumes.volume import File

NOW = datetime(2026, 1, 1, tzinfo=UTC)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of volumes belong to root")


def show(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.relative_to(folder).parts[0].startswith("..")
    }


def test_files_are_seen_through_one_link(tmp_path: Path) -> None:
    assert write(tmp_path, {"k": File(b"v", 0o644), "a/b": File(b"deep", 0o600)}, now=NOW)
    assert os.readlink(tmp_path / "k") == "..data/k"
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert (tmp_path / "k").read_text() == "v"
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o600


def test_same_content_is_not_written_again(tmp_path: Path) -> None:
    write(tmp_path, {"k": File(b"v", 0o644)}, now=NOW)
    before = os.readlink(tmp_path / "..data")
    assert not write(tmp_path, {"k": File(b"v", 0o644)}, now=NOW)
    assert os.readlink(tmp_path / "..data") == before
    assert write(tmp_path, {"k": File(b"v", 0o600)}, now=NOW)


def test_new_version_replaces_the_old_and_leaves_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"k": File(b"v", 0o644), "gone": File(b"x", 0o644)}, now=NOW)
    reader = (tmp_path / "k").open()
    write(tmp_path, {"k": File(b"v2", 0o644)}, now=NOW)
    assert (tmp_path / "k").read_text() == "v2"
    assert reader.read() == "v"
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != os.readlink(tmp_path / "..data")) == ["..data", "k"]


def test_group_may_read(tmp_path: Path) -> None:
    write(tmp_path, {"k": File(b"v", 0o400, 1000)}, group=2000, now=NOW)
    info = (tmp_path / "k").stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (1000, 2000, 0o440)


@pytest.mark.parametrize("path", ["", "/abs", "../up", "a/../../b", "..x", "..data"])
def test_paths_out_of_the_volume_are_refused(path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        check_path(path)
