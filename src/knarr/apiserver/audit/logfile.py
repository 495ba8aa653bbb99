"""The audit log as a file: one JSON object a line, a new file when one is full.

Upstream counterpart: plugin/pkg/audit/log and the rotation of natefinch/lumberjack, whose names of old files are kept.
"""

import os
import re
import sys
from datetime import datetime, timedelta
from pathlib import Path

from knarr.kit import clock as clocks

_STAMP = "%Y-%m-%dT%H-%M-%S"
_MB = 1 << 20


class LogFile:
    """A file that is renamed when it is full.

    Args:
        path: The file; "-" is standard output.
        clock: Stamps and ages old files.
        max_size_mb: When it is full.
        max_age_days: How long old files are kept; 0 for ever.
        max_backups: How many; 0 all.
    """

    name = "log"

    def __init__(
        self, path: Path, clock: clocks.Clock, *, max_size_mb: int = 100, max_age_days: int = 0, max_backups: int = 0
    ) -> None:
        self._path = path
        self._clock = clock
        self._limit = max_size_mb * _MB
        self._max_age = timedelta(days=max_age_days)
        self._max_backups = max_backups
        self._descriptor = -1
        self._size = 0
        self._is_stdout = str(path) == "-"
        if not self._is_stdout:
            self._open()

    def write(self, line: bytes) -> None:
        """Append a line, which ends with a line feed.

        Raises:
            OSError: The disk does not take it.
        """
        if self._is_stdout:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            return
        if self._limit and self._size and self._size + len(line) > self._limit:
            self._rotate()
        view = memoryview(line)
        while view:
            written = os.write(self._descriptor, view)
            self._size += written
            view = view[written:]

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        self.close()
        now = self._clock.now()
        stamp = f"{now.strftime(_STAMP)}.{now.microsecond // 1000:03d}"
        self._path.rename(self._path.with_name(f"{self._path.stem}-{stamp}{self._path.suffix}"))
        self._open()
        self._forget(now)

    def _forget(self, now: datetime) -> None:
        old = sorted(self._backups(), reverse=True)
        for index, (time, path) in enumerate(old):
            is_too_many = 0 < self._max_backups <= index
            is_too_old = bool(self._max_age) and now.replace(tzinfo=None) - time > self._max_age
            if is_too_many or is_too_old:
                path.unlink(missing_ok=True)

    def _backups(self) -> list[tuple[datetime, Path]]:
        form = re.compile(
            rf"{re.escape(self._path.stem)}-(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d)\.(\d{{3}}){re.escape(self._path.suffix)}"
        )
        found = []
        for path in self._path.parent.iterdir():
            match = form.fullmatch(path.name)
            if match is not None:
                time = datetime.strptime(match[1], _STAMP) + timedelta(milliseconds=int(match[2]))
                found.append((time, path))
        return found
