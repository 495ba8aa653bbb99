"""What the tests of real clients share: the cluster of this run behind a relay that can be cut, and one pod to look into."""

import base64
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.clients.relay import Relay
from tests.live.conftest import ROOT, Cluster, wait_until

CLIENTS = ROOT / "build" / "clients"
"""What `scripts/clients` fetches."""

TARGET = """
apiVersion: v1
kind: Pod
metadata: {name: target, namespace: clients, labels: {app: target}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: localhost/busybox:1
      command: [sh, -c]
      args:
        - |
          mkdir -p /www && echo served > /www/index.html
          for i in 1 2 3; do echo line $i; done
          exec httpd -f -p 8080 -h /www
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
"""


@pytest.fixture(scope="session")
def relay(cluster: Cluster) -> Iterator[Relay]:
    """Stand between the clients and the API server."""
    server = yaml.safe_load(cluster.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    with Relay(int(server.rpartition(":")[2])).running() as made:
        yield made


@pytest.fixture(scope="session")
def kubeconfig(cluster: Cluster, relay: Relay, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The administrator's kubeconfig, by way of the relay."""
    told: Any = yaml.safe_load(cluster.kubeconfig.read_text())
    told["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{relay.port}"
    path: Path = tmp_path_factory.mktemp("clients") / "kubeconfig"
    path.write_text(yaml.safe_dump(told))
    return path


@dataclass(frozen=True)
class Credentials:
    """The administrator's credentials as files, for clients that do not read kubeconfig files; by way of the relay."""

    server: str
    authority: Path
    certificate: Path
    key: Path


@pytest.fixture(scope="session")
def credentials(kubeconfig: Path) -> Credentials:
    """What the kubeconfig says, taken apart."""
    told: Any = yaml.safe_load(kubeconfig.read_text())
    server, user = told["clusters"][0]["cluster"], told["users"][0]["user"]
    made = Credentials(server["server"], *(kubeconfig.parent / name for name in ("ca.crt", "user.crt", "user.key")))
    made.authority.write_bytes(base64.b64decode(server["certificate-authority-data"]))
    made.certificate.write_bytes(base64.b64decode(user["client-certificate-data"]))
    made.key.write_bytes(base64.b64decode(user["client-key-data"]))
    return made


@pytest.fixture(scope="session")
def target(cluster: Cluster) -> Iterator[str]:
    """The name of a Ready pod in the namespace `clients`: it has logged three lines and serves HTTP on 8080."""
    cluster.kubectl("create", "namespace", "clients")
    cluster.kubectl("create", "-f", "-", stdin=TARGET)
    cluster.kubectl("wait", "-n", "clients", "--for=condition=Ready", "pod/target", "--timeout=60s")
    yield "target"
    cluster.kubectl("delete", "namespace", "clients", "--wait=false")


@pytest.fixture(scope="session")
def fetched() -> Path:
    """The folder of the clients that are no Python packages."""
    subprocess.run([str(ROOT / "scripts" / "clients")], check=True, timeout=500)
    return CLIENTS


@pytest.fixture(scope="session")
def stale(cluster: Cluster) -> Callable[[], str]:
    """Return a function that gives a resourceVersion which the server has forgotten, once it has."""
    version: str = cluster.get("namespace", "kube-system")["metadata"]["resourceVersion"]
    path = f"/api/v1/namespaces?watch=1&timeoutSeconds=1&resourceVersion={version}"

    def forgotten() -> str:
        wait_until(lambda: '"code":410' in cluster.kubectl("get", "--raw", path), what="forgotten")
        return version

    return forgotten
