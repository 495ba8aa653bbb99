from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from knarr.node.logs.rotate import MAX_FILES, rotate
from knarr.node.runtime.errors import RuntimeFailure


class Reopens:
    """The one method of a runtime that rotation uses."""

    def __init__(self, path: Path, *, fails: bool = False) -> None:
        self._path = path
        self._fails = fails

    async def reopen_log(self, _container_id: str) -> None:
        if self._fails:
            raise RuntimeFailure("ReopenContainerLog", "UNKNOWN", "no")
        self._path.touch()


async def test_at_most_five_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    runtime: Any = Reopens(path)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    for turn in range(8):
        path.write_text(f"{turn}")
        await rotate(path, "c", runtime, now=now + timedelta(seconds=turn))
    names = sorted(entry.name for entry in tmp_path.iterdir())
    assert len(names) == MAX_FILES
    assert names[-1] == "0.log.20260101-000007"  # the newest rotated one is not packed
    assert all(name.endswith(".gz") for name in names[1:-1])


async def test_log_is_put_back_when_the_runtime_opens_no_new_one(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text("x")
    runtime: Any = Reopens(path, fails=True)
    with pytest.raises(RuntimeFailure):
        await rotate(path, "c", runtime, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert path.read_text() == "x"
