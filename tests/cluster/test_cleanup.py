"""Clean-up finds what is a cluster's own, and nothing else."""

import subprocess
import sys
import time
from pathlib import Path

from knarr.cluster import cleanup


def test_processes_are_found_by_a_folder_in_their_command_line(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours = subprocess.Popen([*command, f"{tmp_path}/config.toml"])
    other = subprocess.Popen([*command, f"{tmp_path}-other/config.toml"])
    try:
        time.sleep(0.2)  # until exec has replaced the command line
        assert cleanup.processes_below(tmp_path) == [ours.pid]
        cleanup.end_processes([ours.pid])
        assert cleanup.processes_below(tmp_path) == []
        assert other.poll() is None
    finally:
        for process in (ours, other):
            process.kill()
            process.wait()


def test_a_cluster_without_cgroups_has_no_processes_there() -> None:
    assert cleanup.cgroup_folders("/knarr-nobody-has-this-name") == []
    assert cleanup.processes_in_cgroup("/knarr-nobody-has-this-name") == []


def test_ending_a_process_that_is_gone_is_done_at_once() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    cleanup.end_processes([gone.pid])
