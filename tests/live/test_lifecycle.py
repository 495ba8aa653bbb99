"""Clusters come, survive what is done to them, and go without a trace."""

import json
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

KEEPER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: keeper}
spec:
  replicas: 2
  selector: {matchLabels: {app: keeper}}
  template:
    metadata: {labels: {app: keeper}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - {name: main, image: "localhost/busybox:1", command: [sleep, "3600"]}
"""


def traces(cluster: Cluster, bridge: str) -> dict[str, list[str]]:
    """What a cluster has on the machine, by sort; only sorts of which there is something.

    Args:
        cluster: Whose; its name is in the paths, command lines and names of nearly all that it makes.
        bridge: Its pod bridge, which links and routes name.
    """
    name = cluster.name
    commands = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            commands.append(entry.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    found = {
        "processes": [line for line in commands if name in line and "pytest" not in line],
        "mounts": [point for point in mounts if name in point],  # network namespaces are mounts too
        "tables": [line for line in run("nft", "list", "tables") if name in line],
        "links": [line for line in run("ip", "-o", "link") if bridge in re.split(r"[\s:@]+", line)],
        "routes": [line for line in run("ip", "route") if bridge in line.split()],
        "cgroups": [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/knarr-{name}")],
        "runs": [str(path) for path in Path(os.environ["KNARR_RUN"]).glob(f"{name}*")],
    }
    return {sort: things for sort, things in found.items() if things}


def run(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


@pytest.fixture
def second(cluster: Cluster, tmp_path: Path) -> Iterator[Cluster]:
    """Another cluster on the same machine, not started yet."""
    made = Cluster(f"s{uuid.uuid4().hex[:6]}", tmp_path / "kubeconfig", cluster.home)
    yield made
    made.knarr("down", "--delete", "--kubeconfig", str(made.kubeconfig), check=False)


def test_two_clusters_coexist_and_down_leaves_nothing(cluster: Cluster, second: Cluster) -> None:
    made = second.knarr("up", "--kubeconfig", str(second.kubeconfig), "-o", "json")
    assert json.loads(made.stdout)["context"] == f"knarr-{second.name}"
    assert second.kubeconfig.stat().st_mode & 0o777 == 0o600
    second.knarr("load", "archive", str(Path("build/images/busybox.tar").resolve()))
    second.kubectl("apply", "-f", "-", stdin=KEEPER)
    second.kubectl("rollout", "status", "deployment/keeper", "--timeout=60s")
    assert cluster.get("nodes")["items"] and "keeper" not in cluster.kubectl("get", "deployments")

    bridge = json.loads((second.home / second.name / "cluster.json").read_text())["bridge"]
    assert set(traces(second, bridge)) == {"processes", "mounts", "tables", "links", "routes", "cgroups", "runs"}

    second.knarr("down", "--kubeconfig", str(second.kubeconfig))
    assert traces(second, bridge) == {}

    second.knarr("up", "--kubeconfig", str(second.kubeconfig))
    second.kubectl("rollout", "status", "deployment/keeper", "--timeout=60s")
    wait_until(lambda: len(second.get("pods")["items"]) == 2)
    second.knarr("down", "--delete", "--kubeconfig", str(second.kubeconfig))
    assert traces(second, bridge) == {}
    assert not (second.home / second.name).exists()
    assert second.name not in second.kubeconfig.read_text()


def test_up_again_changes_nothing(cluster: Cluster) -> None:
    before = process_ids(cluster)
    cluster.knarr("up", "--kubeconfig", str(cluster.kubeconfig))
    assert process_ids(cluster) == before


def test_status_tells_what_runs(cluster: Cluster) -> None:
    (found,) = json.loads(cluster.knarr("status", "-o", "json").stdout)
    assert found["state"] == "running"
    assert found["nodes"] == found["nodes_ready"] == 1
    assert "running" in cluster.knarr("status").stdout


def test_unknown_clusters_and_words_have_their_exit_codes(cluster: Cluster) -> None:
    def code(*words: str) -> int:
        return subprocess.run([sys.executable, "-m", "knarr", *words], check=False, capture_output=True).returncode

    assert code("status", "--name", "nobody") == 4
    assert code("down", "--name", "nobody") == 4
    assert code("up", "--name", "Bad_Name") == 2
    assert code("sail") == 2
    assert code("load", "archive", "missing.tar", "--name", cluster.name) == 1


@pytest.mark.parametrize("victim", ["server", "agent", "containerd"])
def test_a_killed_process_comes_back_and_no_container_restarts(cluster: Cluster, namespace: str, victim: str) -> None:
    n = ["-n", namespace]
    cluster.kubectl("apply", "-f", "-", *n, stdin=KEEPER)
    cluster.kubectl("rollout", "status", "deployment/keeper", "--timeout=60s", *n)
    before = containers(cluster, namespace)
    acknowledged = 0
    pid = process_ids(cluster)[victim]
    for number in range(20):
        cluster.kubectl("create", "configmap", f"kept-{number}", *n)
        acknowledged += 1
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: process_ids(cluster).get(victim, pid) != pid)
    wait_until(lambda: "keeper" in cluster.kubectl("get", "deployments", *n, check=False))
    kept = cluster.get("configmaps", *n)["items"]
    assert sum(one["metadata"]["name"].startswith("kept-") for one in kept) == acknowledged
    cluster.kubectl("scale", "deployment/keeper", "--replicas=3", *n)
    cluster.kubectl("rollout", "status", "deployment/keeper", "--timeout=60s", *n)
    after = containers(cluster, namespace)
    assert before.items() <= after.items()
    assert set(after.values()) == {0}


def containers(cluster: Cluster, namespace: str) -> dict[str, int]:
    """Container ids with their restart counts."""
    statuses = [
        status
        for pod in cluster.get("pods", "-n", namespace)["items"]
        for status in pod["status"].get("containerStatuses", [])
    ]
    return {status["containerID"]: status["restartCount"] for status in statuses}


def process_ids(cluster: Cluster) -> dict[str, int]:
    """The ids of a cluster's processes, by name; those that do not run are left out."""
    found = {}
    run_folder = Path(os.environ["KNARR_RUN"]) / cluster.name
    files = {"server": "server.pid", "agent": "agent.pid", "containerd": "containerd/containerd.pid"}
    for name, file in files.items():
        path = run_folder / file
        pid = int(path.read_text().split()[0]) if path.exists() else 0
        if pid and Path(f"/proc/{pid}").exists():
            found[name] = pid
    return found
