"""The official JavaScript client: typed, by object, watch, informer, logs, exec, cp, port-forward, usage."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live.clients.relay import Relay

pytestmark = pytest.mark.live

STEPS = Path(__file__).parent / "client_node" / "steps.mjs"
NAMES = ["versions", "objects", "patches", "anyKind", "watch", "gone", "informer", "logs", "exec", "cp"]
NAMES += ["portForward", "usage", "health"]


def test_client_node(
    fetched: Path, kubeconfig: Path, namespace: str, target: str, relay: Relay, stale: Callable[[], str]
) -> None:
    here = fetched / "steps.mjs"  # beside node_modules, where imports are looked up
    here.write_text(STEPS.read_text())
    told = {"KUBECONFIG": str(kubeconfig), "NAMESPACE": namespace, "TARGET": target, "STALE": stale()}
    command = [str(fetched / "node" / "bin" / "node"), str(here)]
    seen = []
    with subprocess.Popen(
        command, env=os.environ | told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        assert running.stderr is not None
        for line in running.stdout:
            if line == "cut\n":
                relay.cut()
                running.stdin.write("done\n")
                running.stdin.flush()
            else:
                seen.append(line.strip())
        complaints = running.stderr.read()
    assert seen == [f"ok {name}" for name in NAMES], complaints
