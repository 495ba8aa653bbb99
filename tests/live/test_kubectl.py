"""A new user's hour with the real kubectl."""

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.live.conftest import Cluster, wait_until

pytestmark = pytest.mark.live

SLEEPER = """
apiVersion: v1
kind: Pod
metadata: {name: sleeper, labels: {app: sleeper}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - {name: main, image: "localhost/busybox:1", command: [sh, -c, "echo started; exec sleep 3600"]}
"""
WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: localhost/python:3
          command: [python3, -m, http.server, "8080"]
          workingDir: /tmp
          ports: [{name: http, containerPort: 8080}]
          readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
"""


@pytest.fixture
def sleeper(cluster: Cluster, namespace: str) -> str:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=SLEEPER)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    return namespace


@pytest.fixture
def web(cluster: Cluster, namespace: str) -> str:
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=WEB)
    cluster.kubectl("rollout", "status", "-n", namespace, "deployment/web", "--timeout=90s")
    return namespace


def test_create_expose_scale_set_image_and_undo(cluster: Cluster, namespace: str) -> None:
    n = ["-n", namespace]
    cluster.kubectl("create", "deployment", "app", "--image=localhost/busybox:1", *n, "--", "sleep", "3600")
    cluster.kubectl("rollout", "status", "deployment/app", "--timeout=60s", *n)
    cluster.kubectl("expose", "deployment", "app", "--port=80", "--target-port=8080", *n)
    assert cluster.get("service", "app", *n)["spec"]["clusterIP"]
    cluster.kubectl("scale", "deployment/app", "--replicas=3", *n)
    cluster.kubectl("rollout", "status", "deployment/app", "--timeout=60s", *n)
    assert cluster.get("deployment", "app", *n)["status"]["readyReplicas"] == 3
    cluster.kubectl("set", "image", "deployment/app", "busybox=localhost/python:3", *n)
    cluster.kubectl("rollout", "status", "deployment/app", "--timeout=90s", *n)
    history = cluster.kubectl("rollout", "history", "deployment/app", *n)
    assert re.search(r"^2\s", history, re.MULTILINE)
    cluster.kubectl("rollout", "undo", "deployment/app", *n)
    cluster.kubectl("rollout", "status", "deployment/app", "--timeout=90s", *n)
    containers = cluster.get("deployment", "app", *n)["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == "localhost/busybox:1"


def test_get_prints_tables_yaml_json_and_jsonpath(cluster: Cluster, sleeper: str) -> None:
    n = ["-n", sleeper]
    lines = cluster.kubectl("get", "pods", *n).splitlines()
    assert lines[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1].split()[:4] == ["sleeper", "1/1", "Running", "0"]
    wide = cluster.kubectl("get", "pods", "-o", "wide", *n).splitlines()[0]
    assert wide.split()[5:8] == ["IP", "NODE", "NOMINATED"]
    assert "kind: Pod" in cluster.kubectl("get", "pod/sleeper", "-o", "yaml", *n)
    assert cluster.kubectl("get", "pod/sleeper", "-o", "jsonpath={.status.phase}", *n) == "Running"
    assert cluster.kubectl("get", "pods", "-l", "app=sleeper", "-o", "name", *n).split() == ["pod/sleeper"]
    assert cluster.kubectl("get", "pods", "--field-selector=status.phase=Failed", "-o", "name", *n) == ""
    assert "sleeper" in cluster.kubectl("get", "all", "-A")


def test_watch_prints_changes_as_they_come(cluster: Cluster, namespace: str) -> None:
    command = [
        "kubectl",
        "--kubeconfig",
        str(cluster.kubeconfig),
        "get",
        "configmaps",
        "-n",
        namespace,
        "-w",
        "-o",
        "name",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        time.sleep(0.5)
        cluster.kubectl("create", "configmap", "seen", "-n", namespace)
        lines = iter(watching.stdout.readline, "")
        assert any("configmap/seen" in line for line in lines)
        watching.terminate()


def test_describe_shows_conditions_and_events(cluster: Cluster, sleeper: str) -> None:
    text = cluster.kubectl("describe", "pod", "sleeper", "-n", sleeper)
    assert re.search(r"Ready\s+True", text)
    for reason in ("Scheduled", "Created", "Started"):
        assert reason in text
    assert "Allocated resources" in cluster.kubectl("describe", "nodes")


def test_logs_follow_and_tail(cluster: Cluster, namespace: str) -> None:
    pod = SLEEPER.replace("echo started; exec sleep 3600", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done")
    pod = pod.replace("spec:\n", "spec:\n  restartPolicy: Never\n", 1)
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod)
    wait_until(lambda: cluster.get("pod", "sleeper", "-n", namespace)["status"].get("phase") != "Pending")
    followed = cluster.kubectl("logs", "-f", "sleeper", "-n", namespace)
    assert followed.splitlines() == [f"line {i}" for i in range(1, 6)]
    assert cluster.kubectl("logs", "sleeper", "--tail=2", "-n", namespace).splitlines() == ["line 4", "line 5"]
    stamped = cluster.kubectl("logs", "sleeper", "--timestamps", "--tail=1", "-n", namespace)
    assert re.match(r"\d{4}-\d\d-\d\dT\S+Z line 5$", stamped.strip())


def test_previous_logs_of_a_crashing_container(cluster: Cluster, namespace: str) -> None:
    pod = SLEEPER.replace("echo started; exec sleep 3600", "echo run $(date +%s); exit 3")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod)

    def status() -> dict[str, object]:
        found = cluster.get("pod", "sleeper", "-n", namespace)["status"].get("containerStatuses")
        return found[0] if found else {}

    wait_until(lambda: status().get("restartCount", 0) and "lastState" in status())
    last = status()["lastState"]
    assert isinstance(last, dict)
    assert last["terminated"]["exitCode"] == 3
    assert "run " in cluster.kubectl("logs", "sleeper", "--previous", "-n", namespace)
    wait_until(lambda: "CrashLoopBackOff" in cluster.kubectl("get", "pod", "sleeper", "-n", namespace))


def test_exec_streams_input_output_and_exit_code(cluster: Cluster, sleeper: str) -> None:
    n = ["-n", sleeper]
    assert cluster.kubectl("exec", "sleeper", *n, "--", "echo", "hello").strip() == "hello"
    assert cluster.kubectl("exec", "-i", "sleeper", *n, "--", "tr", "a-z", "A-Z", stdin="quiet") == "QUIET"
    failed = cluster.kubectl("exec", "sleeper", *n, "--", "sh", "-c", "exit 7", check=False)
    assert "exit code 7" in failed
    command = f"kubectl --kubeconfig {cluster.kubeconfig} exec -it sleeper -n {sleeper} -- sh -c 'tty; stty size'"
    terminal = subprocess.run(
        ["script", "-qec", command, "/dev/null"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "/dev/pts/" in terminal.stdout


def test_attach_reads_the_main_process(cluster: Cluster, namespace: str) -> None:
    pod = SLEEPER.replace("echo started; exec sleep 3600", "while true; do echo tick; sleep 0.2; done")
    cluster.kubectl("apply", "-n", namespace, "-f", "-", stdin=pod)
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/sleeper", "--timeout=60s")
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "attach", "sleeper", "-n", namespace]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as attached:
        assert attached.stdout is not None
        assert attached.stdout.readline().strip() == "tick"
        attached.terminate()


def test_cp_there_and_back(cluster: Cluster, web: str, tmp_path: Path) -> None:
    pod = cluster.kubectl("get", "pods", "-l", "app=web", "-o", "name", "-n", web).split()[0].removeprefix("pod/")
    source = tmp_path / "source.bin"
    source.write_bytes(bytes(range(256)) * 4000)
    cluster.kubectl("cp", str(source), f"{web}/{pod}:/tmp/copied.bin")
    cluster.kubectl("cp", f"{web}/{pod}:/tmp/copied.bin", str(tmp_path / "back.bin"))
    assert (tmp_path / "back.bin").read_bytes() == source.read_bytes()


def test_port_forward_carries_http(cluster: Cluster, web: str) -> None:
    command = ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "port-forward", "service/web", ":80", "-n", web]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forwarding:
        assert forwarding.stdout is not None
        match = re.search(r"127\.0\.0\.1:(\d+)", forwarding.stdout.readline())
        assert match
        for _ in range(3):
            with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}/", timeout=10) as answer:
                assert answer.status == 200
        forwarding.terminate()


def test_service_answers_by_name_and_address(cluster: Cluster, web: str) -> None:
    client = "import urllib.request; print(urllib.request.urlopen('http://{}/', timeout=5).status)"
    for host in ("web", f"web.{web}.svc.cluster.local", cluster.get("service", "web", "-n", web)["spec"]["clusterIP"]):
        output = cluster.kubectl("exec", "deployment/web", "-n", web, "--", "python3", "-c", client.format(host))
        assert output.strip() == "200"


def test_explain_and_api_resources(cluster: Cluster) -> None:
    assert "progressDeadlineSeconds" in cluster.kubectl("explain", "deployment.spec")
    assert "FIELD: containerPort <integer>" in cluster.kubectl("explain", "pod.spec.containers.ports.containerPort")
    names = cluster.kubectl("api-resources", "-o", "name").split()
    assert {"pods", "deployments.apps", "leases.coordination.k8s.io"} <= set(names)
    assert "apps/v1" in cluster.kubectl("api-versions").split()


def test_apply_diff_and_delete(cluster: Cluster, web: str, tmp_path: Path) -> None:
    manifest = tmp_path / "web.yaml"
    manifest.write_text(WEB.replace("replicas: 2", "replicas: 1"))
    diff = cluster.kubectl("diff", "-n", web, "-f", str(manifest), check=False)
    assert re.search(r"^\+\s+replicas: 1", diff, re.MULTILINE)
    assert "configured" in cluster.kubectl("apply", "-n", web, "-f", str(manifest))
    assert "unchanged" in cluster.kubectl("apply", "-n", web, "-f", str(manifest))
    assert "serverside-applied" in cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "-n", web, "-f", str(manifest)
    )
    assert cluster.kubectl("apply", "--dry-run=server", "-n", web, "-f", str(manifest))
    cluster.kubectl("delete", "-n", web, "-f", str(manifest), "--timeout=60s")
    wait_until(lambda: not cluster.get("pods", "-n", web)["items"])


def test_label_annotate_patch_and_edit(cluster: Cluster, sleeper: str) -> None:
    n = ["-n", sleeper]
    cluster.kubectl("label", "pod", "sleeper", "tier=low", *n)
    cluster.kubectl("annotate", "pod", "sleeper", "note=kept", *n)
    cluster.kubectl("label", "pod", "sleeper", "app-", *n)
    cluster.kubectl("patch", "pod", "sleeper", "-p", '{"metadata":{"labels":{"patched":"yes"}}}', *n)
    patch = json.dumps([{"op": "remove", "path": "/metadata/annotations/note"}])
    cluster.kubectl("patch", "pod", "sleeper", "--type=json", "-p", patch, *n)
    meta = cluster.get("pod", "sleeper", *n)["metadata"]
    assert meta["labels"] == {"tier": "low", "patched": "yes"}
    assert "note" not in meta["annotations"]


def test_taint_cordon_and_drain(cluster: Cluster, web: str) -> None:
    node = cluster.get("nodes")["items"][0]["metadata"]["name"]
    try:
        cluster.kubectl("taint", "nodes", node, "maintenance=soon:PreferNoSchedule")
        cluster.kubectl("taint", "nodes", node, "maintenance-")
        cluster.kubectl("cordon", node)
        assert "SchedulingDisabled" in cluster.kubectl("get", "nodes")
        drained = cluster.kubectl(
            "drain", node, "--force", "--pod-selector=app=web", "--ignore-daemonsets", "--timeout=90s"
        )
        assert "drained" in drained
        pods = wait_until(lambda: cluster.get("pods", "-n", web, "-l", "app=web")["items"])
        assert {pod["status"]["phase"] for pod in pods} == {"Pending"}
    finally:
        cluster.kubectl("uncordon", node)
    cluster.kubectl("rollout", "status", "-n", web, "deployment/web", "--timeout=90s")


def test_auth_can_i_and_create_token(cluster: Cluster, namespace: str) -> None:
    n = ["-n", namespace]
    assert cluster.kubectl("auth", "can-i", "delete", "nodes").strip() == "yes"
    cluster.kubectl("create", "serviceaccount", "reader", *n)
    cluster.kubectl("create", "role", "reader", "--verb=get,list", "--resource=pods", *n)
    cluster.kubectl("create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={namespace}:reader", *n)
    user = f"--as=system:serviceaccount:{namespace}:reader"
    wait_until(lambda: cluster.kubectl("auth", "can-i", "list", "pods", user, *n, check=False).strip() == "yes")
    assert cluster.kubectl("auth", "can-i", "delete", "pods", user, *n, check=False).startswith("no")
    token = cluster.kubectl("create", "token", "reader", *n).strip()
    allowed = cluster.kubectl("get", "pods", "--token", token, *n, check=False)
    assert "No resources found" in allowed or "NAME" in allowed
    config = cluster.get("pods", *n)  # sanity: the administrator still can
    assert config["items"] == []


def test_bad_manifests_are_refused_in_upstreams_words(cluster: Cluster, namespace: str) -> None:
    n = ["-n", namespace]

    def refused(text: str) -> str:
        return cluster.kubectl("apply", *n, "-f", "-", stdin=text, check=False)

    assert 'unknown field "spec.replica"' in refused(WEB.replace("replicas: 2", "replica: 2"))
    assert "cannot be handled as a Deployment" in refused(WEB.replace("replicas: 2", "replicas: two"))
    assert "spec.template.spec.containers[0].name: Required value" in refused(
        WEB.replace("- name: web", "- tty: false")
    )
    assert "a lowercase RFC 1123 subdomain must consist of" in refused(
        SLEEPER.replace("name: sleeper", "name: Bad_Name")
    )
    assert 'no matches for kind "Widget" in version "v1"' in refused(SLEEPER.replace("kind: Pod", "kind: Widget"))
    assert "quantities must match the regular expression" in refused(
        SLEEPER.replace("name: main", 'name: main, resources: {requests: {cpu: "1x"}}')
    )
