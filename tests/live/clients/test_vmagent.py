"""vmagent (Go, from Debian): Kubernetes service discovery in each role, and a scrape of a pod that it found."""

import json
import socket
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.live.clients.conftest import Credentials
from tests.live.clients.relay import Relay
from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

ROLES = ("node", "pod", "service", "endpoints", "endpointslice", "ingress")
OBJECTS = """
apiVersion: v1
kind: Pod
metadata: {name: measured, labels: {app: measured}, annotations: {scraped: "yes"}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: main
      image: localhost/busybox:1
      command: [sh, -c, "mkdir /www && echo served_total 42 > /www/metrics && exec httpd -f -p 8080 -h /www"]
      ports: [{name: http, containerPort: 8080}]
      readinessProbe: {httpGet: {port: http, path: /metrics}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: measured}
spec:
  selector: {app: measured}
  ports: [{name: http, port: 80, targetPort: http}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: measured}
spec:
  rules:
    - host: measured.example.com
      http:
        paths:
          - {path: /, pathType: Prefix, backend: {service: {name: measured, port: {name: http}}}}
"""


@dataclass(frozen=True)
class Vmagent:
    """vmagent, and the database that it writes to."""

    port: int
    database_port: int

    def targets(self, role: str) -> list[dict[str, str]]:
        """Return the discovered labels of what a role has found, whether it is scraped or not."""
        told = _get(f"http://127.0.0.1:{self.port}/api/v1/targets")["data"]
        labels = [
            target["discoveredLabels"] for kind in ("activeTargets", "droppedTargets") for target in told[kind] or []
        ]
        return [found for found in labels if found.get("job") == role]

    def query(self, text: str) -> list[Any]:
        """Ask the database."""
        query = urllib.parse.urlencode({"query": text})
        found: list[Any] = _get(f"http://127.0.0.1:{self.database_port}/api/v1/query?{query}")["data"]["result"]
        return found


def _get(url: str) -> Any:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)
    except urllib.error.URLError:  # it does not listen yet
        return {"data": {"activeTargets": [], "droppedTargets": [], "result": []}}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def vmagent(fetched: Path, credentials: Credentials, namespace: str, tmp_path: Path) -> Iterator[Vmagent]:
    discovery = {
        "api_server": credentials.server,
        "tls_config": {
            "ca_file": str(credentials.authority),
            "cert_file": str(credentials.certificate),
            "key_file": str(credentials.key),
        },
    }
    jobs = []
    for role in ROLES:
        scoped = {} if role == "node" else {"namespaces": {"names": [namespace]}}
        keep = {"action": "keep", "source_labels": ["__meta_kubernetes_pod_annotation_scraped"], "regex": "yes"}
        jobs.append({"job_name": role, "kubernetes_sd_configs": [{"role": role, **discovery, **scoped}]})
        jobs[-1]["relabel_configs"] = [keep]
    config = tmp_path / "scrape.yaml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    made = Vmagent(_free_port(), _free_port())
    programs = fetched / "debian" / "usr" / "bin"
    database = [
        str(programs / "victoria-metrics"),
        f"-httpListenAddr=127.0.0.1:{made.database_port}",
        f"-storageDataPath={tmp_path / 'data'}",
    ]
    agent = [
        str(programs / "vmagent"),
        f"-httpListenAddr=127.0.0.1:{made.port}",
        f"-promscrape.config={config}",
        "-promscrape.kubernetesSDCheckInterval=1s",
        f"-remoteWrite.url=http://127.0.0.1:{made.database_port}/api/v1/write",
        f"-remoteWrite.tmpDataPath={tmp_path / 'queue'}",
        "-remoteWrite.flushInterval=200ms",
    ]
    with (tmp_path / "log").open("wb") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log) for command in (database, agent)]
        try:
            yield made
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.wait(20)


def test_each_role_is_discovered_and_a_pod_scraped(
    cluster: Cluster, namespace: str, vmagent: Vmagent, relay: Relay
) -> None:
    cluster.kubectl("create", "-n", namespace, "-f", "-", stdin=OBJECTS)
    for role in ROLES:
        found = wait_until(lambda role=role: vmagent.targets(role), what=role)
        assert found[0][f"__meta_kubernetes_{role}_name"]
    node = cluster.get("nodes")["items"][0]
    assert vmagent.targets("node")[0]["__meta_kubernetes_node_name"] == node["metadata"]["name"]
    pod = wait_until(lambda: _ready(vmagent.targets("pod")))
    assert pod["__meta_kubernetes_pod_ip"] == cluster.get("pod", "measured", "-n", namespace)["status"]["podIP"]
    assert pod["__meta_kubernetes_pod_container_port_name"] == "http"
    assert vmagent.targets("ingress")[0]["__meta_kubernetes_ingress_host"] == "measured.example.com"
    wait_until(lambda: _value(vmagent, "pod") == "42")
    wait_until(lambda: _value(vmagent, "endpointslice") == "42")
    relay.cut()
    cluster.kubectl("delete", "pod", "measured", "-n", namespace, "--timeout=60s")
    wait_until(lambda: not vmagent.targets("pod"))
    wait_until(lambda: not any("__meta_kubernetes_pod_name" in found for found in vmagent.targets("endpoints")))


def _ready(targets: list[dict[str, str]]) -> dict[str, str] | None:
    return next((found for found in targets if found.get("__meta_kubernetes_pod_ready") == "true"), None)


def _value(vmagent: Vmagent, job: str) -> str:
    found = vmagent.query(f'served_total{{job="{job}"}}')
    return str(found[0]["value"][1]) if found else ""
