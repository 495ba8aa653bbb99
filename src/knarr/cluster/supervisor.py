"""Keeps `knarr server` and `knarr agent` running in the background.

A process of its own with as little in it as possible: no event loop, no third-party import. A child that ends is started
again, after a pause that doubles while it keeps ending soon. What the children run (containerd, its shims, the
containers) are not its children: they live on when supervisor, server or agent die.

The log files are opened for appending and, when large, copied aside and truncated, so that children never notice.
"""

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

RESTART_PAUSE_S = 0.2
RESTART_PAUSE_LIMIT_S = 30.0
STABLE_AFTER_S = 30.0
"""A child that ran this long starts again with the shortest pause."""
STOP_TIMEOUT_S = 20.0
LOG_LIMIT_BYTES = 20 * 1024 * 1024
LOG_CHECK_S = 60.0


@dataclass(slots=True)
class Child:
    """One process to keep running.

    Attributes:
        name: Also the stem of its log and pid files.
        command: The program and its arguments.
    """

    name: str
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None
    started_s: float = 0.0
    pause_s: float = RESTART_PAUSE_S
    due_s: float = field(default=0.0)


class Supervisor:
    """Runs children until told to stop by SIGTERM or SIGINT.

    Args:
        children: In the order they start; they stop in the opposite one.
        logs: The folder of `<name>.log`.
        run: The folder of `<name>.pid`.
    """

    def __init__(self, children: Sequence[Child], *, logs: Path, run: Path) -> None:
        self._children = children
        self._logs = logs
        self._run = run
        self._stopping = False

    def run(self) -> None:
        """Start the children and keep them running; return once stopped and all have ended."""
        wake = _wake_pipe()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # a handler, so that a child's end reaches the wake pipe
        next_log_check_s = time.monotonic() + LOG_CHECK_S
        while not self._stopping:
            now_s = time.monotonic()
            for child in self._children:
                self._tend(child, now_s)
            if now_s >= next_log_check_s:
                next_log_check_s = now_s + LOG_CHECK_S
                self._rotate_logs()
            self._wait(wake, next_log_check_s)
        for child in reversed(self._children):
            self._end(child)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _tend(self, child: Child, now_s: float) -> None:
        if child.process is not None and child.process.poll() is not None:
            self._note_end(child, now_s)
        if child.process is None and now_s >= child.due_s:
            self._start(child, now_s)

    def _start(self, child: Child, now_s: float) -> None:
        with open(self._log_path(child), "ab") as log:
            child.process = subprocess.Popen(child.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        child.started_s = now_s
        write_pid(self._run / f"{child.name}.pid", child.process.pid)

    def _note_end(self, child: Child, now_s: float) -> None:
        assert child.process is not None
        if now_s - child.started_s >= STABLE_AFTER_S:
            child.pause_s = RESTART_PAUSE_S
        sys.stderr.write(
            f"{child.name} (pid {child.process.pid}) ended with {child.process.returncode}, "
            f"starting again in {child.pause_s:.1f} s\n"
        )
        child.process = None
        child.due_s = now_s + child.pause_s
        child.pause_s = min(child.pause_s * 2, RESTART_PAUSE_LIMIT_S)

    def _wait(self, wake: int, until_s: float) -> None:
        due = [child.due_s for child in self._children if child.process is None]
        select.select([wake], [], [], max(0.0, min([until_s, *due]) - time.monotonic()))
        with contextlib.suppress(BlockingIOError):
            os.read(wake, 4096)

    def _end(self, child: Child) -> None:
        if child.process is None:
            return
        child.process.terminate()
        try:
            child.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.process.kill()
            child.process.wait()
        (self._run / f"{child.name}.pid").unlink(missing_ok=True)

    def _log_path(self, child: Child) -> Path:
        return self._logs / f"{child.name}.log"

    def _rotate_logs(self) -> None:
        for path in self._logs.glob("*.log"):
            if path.stat().st_size > LOG_LIMIT_BYTES:
                shutil.copyfile(path, path.with_suffix(".log.1"))
                os.truncate(path, 0)


def _wake_pipe() -> int:
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    return reading


def write_pid(path: Path, pid: int) -> None:
    """Note a process's id with its start time, which tells it from a later process of the same id."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(f"{pid} {process_start(pid)}\n")
    temporary.replace(path)


def read_pid(path: Path) -> int | None:
    """Return the id that `write_pid` noted if that very process still runs, else None."""
    try:
        pid, start = path.read_text().split()
    except (FileNotFoundError, ValueError):
        return None
    return int(pid) if process_start(int(pid)) == start else None


def process_start(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; "" if it does not run or is a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
