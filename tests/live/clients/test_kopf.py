"""A real operator written with kopf, in a process of its own: handlers, finalizers, status, timer, daemon, restart."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.live.clients.objects import widget
from tests.live.clients.relay import Relay
from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

HANDLERS = Path(__file__).parent / "kopf_operator" / "widgets.py"
PEERING = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: kopfpeerings.kopf.dev}
spec:
  scope: Namespaced
  group: kopf.dev
  names: {kind: KopfPeering, plural: kopfpeerings, singular: kopfpeering}
  versions:
    - name: v1
      served: true
      storage: true
      schema:
        openAPIV3Schema:
          type: object
          properties:
            status: {type: object, x-kubernetes-preserve-unknown-fields: true}
"""


@dataclass
class Operator:
    """The operator, and a user of its kind."""

    cluster: Cluster
    namespace: str
    group: str
    environment: dict[str, str]
    journal: Path
    log: Path
    running: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        before = self.done().count("startup")
        command = [sys.executable, "-m", "kopf", "run", "-n", self.namespace, str(HANDLERS), "--priority", "100"]
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log)
        wait_until(lambda: self.done().count("startup") > before, timeout_s=150, what=self.log.read_text())

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> None:
        assert self.running is not None
        self.running.send_signal(sign)
        self.running.wait(30)

    def done(self) -> list[str]:
        return self.journal.read_text().splitlines() if self.journal.exists() else []

    def wait_done(self, line: str, *, times: int = 1) -> None:
        wait_until(
            lambda: self.done().count(line) >= times, what=f"{line} in {self.done()}\n{self.log.read_text()[-3000:]}"
        )

    def make(self, name: str, **spec: Any) -> None:
        annotations = spec.pop("annotations", {})
        body = {"apiVersion": f"{self.group}/v1", "kind": "Widget", "spec": spec}
        body["metadata"] = {"name": name, "namespace": self.namespace, "annotations": annotations}
        self.cluster.kubectl("create", "-f", "-", stdin=json.dumps(body))

    def get(self, name: str) -> Any:
        return self.cluster.get(f"widgets.{self.group}", name, "-n", self.namespace)

    def patch(self, name: str, change: str) -> None:
        self.cluster.kubectl("patch", f"widgets.{self.group}", name, "-n", self.namespace, "--type=merge", "-p", change)

    def delete(self, name: str) -> None:
        self.cluster.kubectl("delete", f"widgets.{self.group}", name, "-n", self.namespace, "--timeout=60s")

    def child_size(self, name: str) -> str:
        found = self.cluster.get("configmap", name, "-n", self.namespace)["data"]["size"]
        return str(found)


@pytest.fixture
def operator(cluster: Cluster, namespace: str, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    group = f"{namespace}.example.com"
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(widget(group)))
    cluster.kubectl("apply", "-f", "-", stdin=PEERING)
    for name in (f"widgets.{group}", "kopfpeerings.kopf.dev"):
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{name}", "--timeout=30s")
    peering: dict[str, Any] = {"apiVersion": "kopf.dev/v1", "kind": "KopfPeering"}
    peering |= {"metadata": {"name": "widgets", "namespace": namespace}}
    cluster.kubectl("create", "-f", "-", stdin=json.dumps(peering))
    told = {"KUBECONFIG": str(kubeconfig), "GROUP": group, "JOURNAL": str(tmp_path / "journal")}
    made = Operator(cluster, namespace, group, os.environ | told, tmp_path / "journal", tmp_path / "log")
    made.start()
    try:
        yield made
    finally:
        if made.running is not None and made.running.poll() is None:
            made.stop()
        cluster.kubectl("delete", "crd", f"widgets.{group}", "kopfpeerings.kopf.dev", "--wait=false")


def test_an_operators_life(operator: Operator, relay: Relay) -> None:
    operator.make("a", size=2, annotations={"tick": "yes", "watched": "yes"})
    operator.wait_done("create a 0")
    operator.wait_done("daemon a")
    made = operator.get("a")
    assert made["metadata"]["finalizers"] == [f"{operator.group}/finalizer"]
    wait_until(lambda: operator.get("a").get("status", {}).get("create") == {"child": "a"})
    wait_until(lambda: operator.get("a")["status"].get("ticks", 0) >= 2)
    child = operator.cluster.get("configmap", "a", "-n", operator.namespace)
    assert child["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"]
    relay.cut()
    operator.patch("a", '{"spec":{"size":3}}')
    operator.wait_done("resize a 2 3")
    assert operator.child_size("a") == "3"
    operator.make("flaky", size=1, note="flaky")
    operator.wait_done("create flaky 1")


def test_nothing_is_lost_while_it_is_away(operator: Operator) -> None:
    operator.make("kept", size=1)
    operator.make("doomed", size=1)
    operator.wait_done("create kept 0")
    operator.wait_done("create doomed 0")
    wait_until(lambda: operator.get("kept").get("status", {}).get("create"))
    wait_until(lambda: operator.get("doomed").get("status", {}).get("create"))
    operator.stop(signal.SIGKILL)
    operator.patch("kept", '{"spec":{"size":7}}')
    operator.make("late", size=4)
    operator.cluster.kubectl("delete", f"widgets.{operator.group}", "doomed", "-n", operator.namespace, "--wait=false")
    time.sleep(0.5)
    assert "deletionTimestamp" in operator.get("doomed")["metadata"]
    operator.start()
    for line in ("resize kept 1 7", "create late 0", "delete doomed"):
        operator.wait_done(line)
    assert (operator.child_size("kept"), operator.child_size("late")) == ("7", "4")
    assert operator.done().count("create kept 0") == 1
    for name in ("kept", "late"):
        operator.delete(name)
