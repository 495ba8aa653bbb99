import os
from pathlib import Path

import pytest

from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes.subpath import open_part


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("host")
    root = tmp_path / "volume"
    (root / "a/b").mkdir(parents=True)
    (root / "a/file").write_text("inside")
    (root / "inner").symlink_to("a/b")
    (root / "outer").symlink_to("../secret")
    (root / "absolute").symlink_to("/etc")
    return root


def where(descriptor: int) -> str:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


@pytest.mark.parametrize(
    ("part", "expected"),
    [("a", "a"), ("a/file", "a/file"), ("inner", "a/b"), ("new/deep", "new/deep"), ("a/b/c", "a/b/c")],
)
def test_parts_inside(volume: Path, part: str, expected: str) -> None:
    assert where(open_part(volume, part)) == str(volume / expected)


@pytest.mark.parametrize("part", ["outer", "absolute", "absolute/passwd", "outer/x", "absolute/new", "../x", "/etc"])
def test_parts_that_lead_out_are_refused(volume: Path, part: str) -> None:
    with pytest.raises(VolumeMissing):
        open_part(volume, part)
    assert not Path("/etc/new").exists()
