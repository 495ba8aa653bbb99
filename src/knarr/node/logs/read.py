"""Reading container logs: the last lines, from a time on, following, across rotated files.

The runtime writes a line as `TIME STREAM TAGS TEXT`; tag P marks a part that goes on in the next line. Rotated files lie beside
the current one as `N.log.TIME`, the older ones packed.

Source: pkg/kubelet/kuberuntime/logs/logs.go (v1.37): the format, the meaning of the options and when following ends.
"""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from knarr.kit.clock import Clock

CHUNK_BYTES = 256 << 10
POLL_S = 0.1
"""How often a log that is followed is looked at."""
IDLE_ROUNDS = 2
"""Rounds without news after the container has ended before its log counts as complete."""


@dataclass(frozen=True, slots=True)
class Options:
    """Which part of a log.

    Attributes:
        follow: Go on until the container ends.
        tail: Only so many last lines; None for all.
        since: Only lines from this moment on.
        timestamps: Begin each line with its time.
        limit_bytes: At most so many bytes; None for all.
        stream: "Stdout", "Stderr" or "All".
    """

    follow: bool = False
    tail: int | None = None
    since: datetime | None = None
    timestamps: bool = False
    limit_bytes: int | None = None
    stream: str = "All"


def list_files(current: Path) -> list[Path]:
    """Return a log's files, the oldest first and the current one last."""
    older = sorted(path for path in current.parent.glob(f"{current.name}.*") if not path.name.endswith(".tmp"))
    return [*older, current] if current.exists() else older


async def read_log(
    current: Path, options: Options, clock: Clock, *, is_running: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield a log in pieces.

    Args:
        current: The file that the runtime writes to.
        options: Which part.
        clock: Times looks at a log that is followed.
        is_running: Whether more may come.
    """
    left = options.limit_bytes
    async for piece in _read(current, options, clock, is_running):
        if left is None:
            yield piece
            continue
        if left <= 0:
            return
        yield piece[:left]
        left -= len(piece)


async def _read(current: Path, options: Options, clock: Clock, is_running: Callable[[], bool]) -> AsyncIterator[bytes]:
    render = _Renderer(options)
    files = list_files(current)
    if options.tail is not None:
        position = _end_of(current)
        lines = _last_lines(files, options.tail, position)
        if text := render.lines(lines):
            yield text
    else:
        for path in files[:-1]:
            for block in _blocks(path):
                if text := render.lines(block):
                    yield text
                await asyncio.sleep(0)
        position = 0
    if options.tail is not None and not options.follow:
        return
    follower = _Follower(current, position)
    idle = 0
    while True:
        running = is_running()
        news = follower.read()
        if news:
            idle = 0
            if text := render.lines(news):
                yield text
            await asyncio.sleep(0)
            continue
        if not options.follow:
            return
        idle = 0 if running else idle + 1
        if idle >= IDLE_ROUNDS:
            return
        await clock.sleep(POLL_S)


class _Follower:
    """Reads complete lines from a position on, going over to the new file when the log is rotated."""

    def __init__(self, path: Path, position: int) -> None:
        self._path = path
        self._position = position
        self._inode = _inode(path)
        self._descriptor = -1
        self._rest = b""

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self) -> list[bytes]:
        """Return the next complete lines; none if there is nothing new."""
        if self._descriptor < 0:
            try:
                self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return []
            self._inode = os.fstat(self._descriptor).st_ino
        data = os.pread(self._descriptor, CHUNK_BYTES, self._position)
        if not data:
            if _inode(self._path) not in (self._inode, 0):
                os.close(self._descriptor)
                self._descriptor, self._position, self._rest = -1, 0, b""
                return self.read()
            return []
        self._position += len(data)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        return lines or self.read()


class _Renderer:
    """Turns lines of the file into what the reader is to see."""

    def __init__(self, options: Options) -> None:
        self._since = options.since.timestamp() if options.since is not None else None
        self._timestamps = options.timestamps
        self._stream = options.stream.lower().encode() if options.stream not in ("", "All") else b""
        self._partial = False

    def lines(self, lines: list[bytes]) -> bytes:
        """Return the text of lines."""
        found = []
        for line in lines:
            parts = line.split(b" ", 3)
            if len(parts) < 4:
                continue
            stamp, stream, tags, text = parts
            if self._stream and stream != self._stream:
                continue
            if self._since is not None:
                if _to_seconds(stamp) < self._since:
                    continue
                self._since = None
            if self._timestamps and not self._partial:
                found.append(stamp + b" ")
            self._partial = tags.startswith(b"P")
            found.append(text if self._partial else text + b"\n")
        return b"".join(found)


def _last_lines(files: list[Path], count: int, end: int) -> list[bytes]:
    """Return the last `count` full lines, each with its parts, in order; the last file counts up to `end`."""
    if count <= 0:
        return []
    found: list[bytes] = []
    full = 0
    for index, path in enumerate(reversed(files)):
        for line in _backwards(path, end if index == 0 else None):
            if b" F " in line[:64]:
                full += 1
                if full > count:
                    return found[::-1]
            found.append(line)
    return found[::-1]


def _backwards(path: Path, end: int | None) -> Iterator[bytes]:
    """Yield the complete lines of a file, the last one first."""
    if path.suffix == ".gz":
        yield from reversed([line for block in _blocks(path) for line in block])
        return
    with path.open("rb") as file:
        position = file.seek(0, os.SEEK_END) if end is None else end
        rest = b""
        while position > 0:
            start = max(0, position - CHUNK_BYTES)
            file.seek(start)
            lines = (file.read(position - start) + rest).split(b"\n")
            position = start
            rest = lines.pop(0)
            yield from (line for line in reversed(lines) if line)
        if rest:
            yield rest


def _end_of(path: Path) -> int:
    """Return the position after the last complete line of a file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return 0
    with file:
        position = file.seek(0, os.SEEK_END)
        while position > 0:
            start = max(0, position - 4096)
            file.seek(start)
            at = file.read(position - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            position = start
    return 0


def _blocks(path: Path) -> Iterator[list[bytes]]:
    with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
        rest = b""
        while data := file.read(CHUNK_BYTES):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            yield lines


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _to_seconds(stamp: bytes) -> float:
    """Return a time such as 2026-01-02T03:04:05.678901234Z in seconds since the epoch; 0 if it is none."""
    head, dot, rest = stamp.decode(errors="replace").partition(".")
    digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
    try:
        whole = datetime.fromisoformat(head + (rest[len(digits) :] if dot else "")).timestamp()
    except ValueError:
        return 0.0
    return whole + float(f"0.{digits or 0}")
