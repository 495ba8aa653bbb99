import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knarr.cluster import supervisor

SCRIPT = """
import sys
from pathlib import Path
from knarr.cluster.supervisor import Child, Supervisor
folder = Path(sys.argv[1])
Supervisor([Child("sleeper", ["sleep", "600"])], logs=folder, run=folder).run()
"""


def wait_until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def running(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)], stderr=subprocess.PIPE)
    yield process
    process.terminate()
    process.communicate(timeout=20)


def test_a_killed_child_is_started_again_and_a_stop_ends_it(running: "subprocess.Popen[bytes]", tmp_path: Path) -> None:
    pid_file = tmp_path / "sleeper.pid"
    wait_until(lambda: supervisor.read_pid(pid_file))
    first = supervisor.read_pid(pid_file)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: supervisor.read_pid(pid_file) not in (None, first))
    second = supervisor.read_pid(pid_file)
    running.terminate()
    running.wait(20)
    assert running.returncode == 0
    assert second is not None
    assert supervisor.process_start(second) == ""
    assert not pid_file.exists()


def test_a_pid_file_of_another_process_with_the_same_id_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    supervisor.write_pid(path, os.getpid())
    assert supervisor.read_pid(path) == os.getpid()
    path.write_text(f"{os.getpid()} 1\n")
    assert supervisor.read_pid(path) is None
    path.write_text("")
    assert supervisor.read_pid(path) is None
