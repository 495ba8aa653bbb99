"""One real cluster for all live tests of a run; each test works in a namespace of its own."""

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "build" / "images"
WAIT_S = 60.0
HISTORY_S = 20.0
"""How much of the past the cluster keeps: little, so that clients meet what is gone."""


@dataclass(frozen=True)
class Cluster:
    """A running cluster and the ways to talk to it."""

    name: str
    kubeconfig: Path
    home: Path

    def knarr(self, *words: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `knarr` for this cluster."""
        command = [sys.executable, "-m", "knarr", *words, "--name", self.name]
        return subprocess.run(command, check=check, capture_output=True, text=True, timeout=180)

    def kubectl(self, *words: str, stdin: str | None = None, check: bool = True) -> str:
        """Run the real kubectl and return what it printed; with check=False also what it complained about."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(words)}: {done.stderr}\n{done.stdout}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *words: str) -> Any:
        """Return what `kubectl get … -o json` gives."""
        return json.loads(self.kubectl("get", *words, "-o", "json"))


def wait_until(condition: Callable[[], Any], *, timeout_s: float = WAIT_S, what: str = "") -> Any:
    """Return the first true value of `condition`, failing after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what or condition}"
        time.sleep(0.1)


def attach(name: str, folder: Path) -> Cluster:
    """Return a cluster that runs already, found by $KNARR_HOME and $KNARR_RUN."""
    found = Cluster(name, folder / "kubeconfig", Path(os.environ.get("KNARR_HOME", "/var/lib/knarr")))
    found.kubeconfig.write_text(found.knarr("kubeconfig").stdout)
    return found


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[Cluster]:
    """Start a cluster with the test images; take it down at the end, whatever happened."""
    folder = tmp_path_factory.mktemp("cluster")
    if running := pytestconfig.getoption("--cluster"):
        yield attach(running, folder)
        return
    name = f"t{uuid.uuid4().hex[:6]}"
    os.environ["KNARR_HOME"], os.environ["KNARR_RUN"] = str(folder / "lib"), f"/run/knarr-{name}"
    made = Cluster(name, folder / "kubeconfig", folder / "lib")
    (made.home / name).mkdir(mode=0o700, parents=True)
    (made.home / name / "server.json").write_text(f'{{"etcd-compaction-interval": {HISTORY_S}}}')
    try:
        made.knarr("up", "--kubeconfig", str(made.kubeconfig), "--wait", "120")
        for image in ("busybox", "redis", "guestbook", "python"):
            made.knarr("load", "archive", str(IMAGES / f"{image}.tar"))
        yield made
    finally:
        made.knarr("down", "--delete", "--kubeconfig", str(made.kubeconfig), check=False)
        Path(os.environ["KNARR_RUN"]).rmdir()


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A fresh namespace, deleted afterwards without waiting."""
    name = f"n{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
