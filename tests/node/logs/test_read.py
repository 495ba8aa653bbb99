import asyncio
import gzip
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from knarr.kit.clock import FakeClock
from knarr.node.logs.read import Options, read_log


def line(second: int, text: str, *, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-01-01T00:00:{second:02}.123456789Z {stream} {tag} {text}\n"


async def collect(path: Path, *, running: bool = False, **options: Any) -> str:
    pieces = [piece async for piece in read_log(path, Options(**options), FakeClock(), is_running=lambda: running)]
    return b"".join(pieces).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_text("".join(line(n, f"line {n}", stream="stderr" if n % 2 else "stdout") for n in range(5)))
    return path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "line 0\nline 1\nline 2\nline 3\nline 4\n"),
        ({"tail": 2}, "line 3\nline 4\n"),
        ({"tail": 0}, ""),
        ({"tail": 99}, "line 0\nline 1\nline 2\nline 3\nline 4\n"),
        ({"tail": 1, "timestamps": True}, "2026-01-01T00:00:04.123456789Z line 4\n"),
        ({"since": datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)}, "line 3\nline 4\n"),
        ({"limit_bytes": 9}, "line 0\nli"),
        ({"stream": "Stderr"}, "line 1\nline 3\n"),
    ],
)
async def test_options(log: Path, options: Any, expected: str) -> None:
    assert await collect(log, **options) == expected


async def test_parts_of_a_line_are_joined_and_stamped_once(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_text(line(0, "a") + line(1, "lo", tag="P") + line(2, "ng") + line(3, "z"))
    assert await collect(path) == "a\nlong\nz\n"
    assert await collect(path, tail=2) == "long\nz\n"
    assert (await collect(path, timestamps=True)).splitlines()[1] == "2026-01-01T00:00:01.123456789Z long"


async def test_rotated_files_come_first(log: Path) -> None:
    with gzip.open(log.with_name("0.log.20260101-000000.gz"), "wb") as packed:
        packed.write(line(0, "oldest").encode())
    log.with_name("0.log.20260101-000001").write_text(line(1, "older"))
    assert (await collect(log)).startswith("oldest\nolder\nline 0\n")
    assert (await collect(log, tail=6)).startswith("older\nline 0\n")


async def test_line_that_is_still_being_written_waits(log: Path) -> None:
    with log.open("a") as file:
        file.write("2026-01-01T00:00:05Z stdout F unfin")
    assert (await collect(log, tail=1)) == "line 4\n"
    assert (await collect(log)).endswith("line 4\n")


async def test_following_goes_on_across_a_rotation_until_the_container_ends(log: Path) -> None:
    clock = FakeClock()
    running = True
    found: list[bytes] = []

    async def follow() -> None:
        options = Options(follow=True, tail=1)
        async for piece in read_log(log, options, clock, is_running=lambda: running):
            found.append(piece)

    task = asyncio.create_task(follow())
    await clock.advance(1)
    with log.open("a") as file:
        file.write(line(5, "five"))
    await clock.advance(1)
    with log.open("a") as file:
        file.write(line(6, "six"))
    log.rename(log.with_name("0.log.20260101-000010"))
    log.write_text(line(7, "seven"))
    await clock.advance(1)
    running = False
    await clock.advance(1)
    await task
    assert b"".join(found) == b"line 4\nfive\nsix\nseven\n"
