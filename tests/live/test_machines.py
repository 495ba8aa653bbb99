"""Three machines, one beyond a router: they join, their pods talk, one is lost and comes back, and nothing is left in the end."""

import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.live.conftest import IMAGES, wait_until
from tests.live.machines import Links, Machine, open_links

PYTHON = [sys.executable, "-m", "knarr"]

pytestmark = pytest.mark.live

WEB = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: main
          image: localhost/python:3
          env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]
          readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}
          command:
            - python3
            - -uc
            - |
              import http.server, os
              node = os.environ["NODE"]
              class Handler(http.server.BaseHTTPRequestHandler):
                  def do_GET(self):
                      self.send_response(200)
                      self.end_headers()
                      who = f"{node} {self.client_address[0]}"
                      self.wfile.write(who.encode() if self.path == "/" else bytes(8 << 20))
              print("serving on", node)
              http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mover}
spec:
  replicas: 1
  selector: {matchLabels: {app: mover}}
  template:
    metadata: {labels: {app: mover}}
    spec:
      terminationGracePeriodSeconds: 1
      affinity:
        nodeAffinity:
          preferredDuringSchedulingIgnoredDuringExecution:
            - {weight: 100, preference: {matchFields: [{key: metadata.name, operator: In, values: [LAST]}]}}
      tolerations:
        - {key: node.kubernetes.io/not-ready, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
        - {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 1}
      containers: [{name: main, image: "localhost/python:3", command: [sleep, "3600"]}]
"""


@pytest.fixture(scope="module")
def links(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Links]:
    """A cluster on three machines: the server's, one beside it and one beyond a router."""
    with open_links(f"k{uuid.uuid4().hex[:5]}", tmp_path_factory.mktemp("machines")) as made:
        first = made.add()
        first.knarr("up", "--kubeconfig", f"{first.folder}/kubeconfig")
        command = first.knarr("token", "create", "--print-join-command").split()
        assert command[:2] == ["knarr", "agent"]
        assert command[3] == f"https://{first.address}:6443"
        for machine in (made.add(), made.add(beyond=True)):
            machine.knarr("up", *command[2:])
        for machine in made.machines:
            machine.knarr("load", "archive", str(IMAGES / "python.tar"))
        first.kubectl("apply", "-f", "-", stdin=WEB.replace("LAST", made.machines[2].name))
        first.kubectl("rollout", "status", "daemonset/web", "--timeout=60s")
        first.kubectl("rollout", "status", "deployment/mover", "--timeout=60s")
        yield made


def pods(first: Machine, app: str) -> dict[str, Any]:
    """The pods of an app that are not on their way out, by node."""
    found = first.get("pods", "-l", f"app={app}")["items"]
    return {one["spec"]["nodeName"]: one for one in found if "deletionTimestamp" not in one["metadata"]}


FETCH = """
import sys, urllib.request
for _ in range(int(sys.argv[2])):
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        data = answer.read()
    print(data.decode() if len(data) < 100 else len(data))
"""


def fetch(first: Machine, pod: Any, url: str, *, count: int = 1) -> list[str]:
    """What a pod gets from a URL; of what is long, the length."""
    command = ["exec", pod["metadata"]["name"], "--", "python3", "-c", FETCH, url, str(count)]
    return first.kubectl(*command).splitlines()


def test_pods_of_all_nodes_reach_each_other_under_their_own_addresses(links: Links) -> None:
    first = links.machines[0]
    found = pods(first, "web")
    assert len(found) == 3
    for source in found.values():
        for node, target in found.items():
            address = source["status"]["podIP"]
            if source is not target:
                url = f"http://{target['status']['podIP']}:8080/"
                assert fetch(first, source, url) == [f"{node} {address}"]
    shown = links.machines[2].run("ip", "route", "show", "proto", "75")
    assert shown.count("onlink") == 2, "the machine beyond the router wraps its packets"
    assert "onlink" in links.machines[0].run("ip", "route", "show", "proto", "75")


def test_large_answers_pass_the_tunnel(links: Links) -> None:
    first = links.machines[0]
    found = pods(first, "web")
    here, far = found[first.name], found[links.machines[2].name]
    url = f"http://{far['status']['podIP']}:8080/large"
    assert fetch(first, here, url) == [str(8 << 20)]


def test_services_and_names_lead_to_pods_of_all_nodes_from_every_node(links: Links) -> None:
    first = links.machines[0]
    names = {machine.name for machine in links.machines}
    for pod in pods(first, "web").values():
        answers = fetch(first, pod, "http://web.default.svc.cluster.local/", count=25)
        assert {answer.split()[0] for answer in answers} == names
    address = first.get("service", "web")["spec"]["clusterIP"]
    for machine in links.machines:
        answers = machine.run(sys.executable, "-c", FETCH, f"http://{address}/", "25").splitlines()
        assert {answer.split()[0] for answer in answers} == names, f"from the node {machine.name} itself"


def test_logs_and_exec_reach_every_node(links: Links) -> None:
    first = links.machines[0]
    for node, pod in pods(first, "web").items():
        assert first.kubectl("logs", pod["metadata"]["name"]).splitlines()[0] == f"serving on {node}"
        assert first.kubectl("exec", pod["metadata"]["name"], "--", "sh", "-c", "echo $NODE").strip() == node


def test_a_joined_machine_says_what_it_is(links: Links) -> None:
    second = links.machines[1]
    assert "3/3" in second.knarr("status")
    assert "are on its servers" in second.knarr("kubeconfig", check=False)
    assert second.knarr("token", check=False).startswith("knarr: the administrator's credentials")
    again = second.knarr("up", "--server", f"https://{links.machines[0].address}:6443", "-o", "json")
    assert f'"node": "{second.name}"' in again


def test_the_name_of_a_node_that_is_there_is_refused(links: Links) -> None:
    first, second = links.machines[:2]
    command = first.knarr("token", "create", "--print-join-command").split()[2:]
    said = second.run(*PYTHON, "agent", *command, "--name", "other", "--node-name", first.name, check=False)
    assert f'a Node with name "{first.name}" and status "Ready" already exists' in said
    assert "no cluster 'other'" in second.run(*PYTHON, "status", "--name", "other", check=False)


def test_a_lost_node_gives_up_its_pods_and_takes_new_ones_when_it_is_back(links: Links) -> None:
    first, _, last = links.machines
    assert list(pods(first, "mover")) == [last.name]
    last.pull_plug()
    wait_until(lambda: last.name not in pods(first, "mover"), timeout_s=120, what="eviction")
    first.kubectl("rollout", "status", "deployment/mover", "--timeout=60s")
    (node,) = pods(first, "mover")
    assert node != last.name
    last.start()
    last.knarr("up")
    wait_until(lambda: "3/3" in first.knarr("status"), what="three nodes Ready")
    first.kubectl("rollout", "status", "daemonset/web", "--timeout=60s")
    found = pods(first, "web")
    url = f"http://{found[last.name]['status']['podIP']}:8080/"
    assert fetch(first, found[first.name], url)[0].split()[0] == last.name
    first.kubectl("rollout", "restart", "deployment/mover")
    first.kubectl("rollout", "status", "deployment/mover", "--timeout=60s")
    assert list(pods(first, "mover")) == [last.name]


def test_down_leaves_nothing_on_any_machine(links: Links) -> None:
    for machine in reversed(links.machines):
        assert {"processes", "links", "tables", "mounts", "cgroups", "routes"} == set(machine.traces())
        machine.knarr("down", "--delete")
        assert machine.traces() == {}
        assert not list((machine.folder / "lib").glob("*/"))
