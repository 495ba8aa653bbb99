"""The example of the README, as `scripts/up` brings it up."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import pytest

from tests.live.conftest import ROOT, Cluster, wait_until

pytestmark = pytest.mark.live

N = ["-n", "guestbook"]


@pytest.fixture(scope="module")
def url(cluster: Cluster) -> Iterator[str]:
    """Apply the guestbook and return its address at a node port."""
    cluster.kubectl("apply", "-f", str(ROOT / "examples/01-guestbook/guestbook.yaml"))
    for name in ("redis-leader", "redis-follower", "frontend"):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=90s", *N)
    addresses = cluster.get("nodes")["items"][0]["status"]["addresses"]
    address = next(one["address"] for one in addresses if one["type"] == "InternalIP")
    port = cluster.get("service", "frontend", *N)["spec"]["ports"][0]["nodePort"]
    yield f"http://{address}:{port}"
    cluster.kubectl("delete", "namespace", "guestbook", "--timeout=90s")


def read(url: str) -> list[str]:
    with urllib.request.urlopen(f"{url}/messages", timeout=10) as answer:
        return json.load(answer)


def post(cluster: Cluster, pod: str, message: str) -> None:
    """Post on one front end, chosen by its name."""
    code = (
        "import urllib.error, urllib.request as r\n"
        f"q = r.Request('http://127.0.0.1:8080/messages', b'message={urllib.parse.quote(message)}')\n"
        "class Stay(r.HTTPRedirectHandler):\n"
        "    def redirect_request(self, *_): return None\n"
        "try: r.build_opener(Stay).open(q, timeout=10)\n"
        "except urllib.error.HTTPError as err: assert err.code == 303, err\n"
    )
    cluster.kubectl("exec", pod, *N, "--", "python3", "-c", code)


def read_in(cluster: Cluster, pod: str) -> list[str]:
    """Read on one front end."""
    code = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/messages', timeout=10).read().decode())"
    return json.loads(cluster.kubectl("exec", pod, *N, "--", "python3", "-c", code))


def test_a_message_posted_on_one_front_end_is_read_on_another(cluster: Cluster, url: str) -> None:
    pods = cluster.kubectl("get", "pods", "-l", "app=guestbook", "-o", "name", *N).split()
    assert len(pods) == 3
    post(cluster, pods[0], "over land")
    for pod in pods[1:]:
        wait_until(lambda pod=pod: "over land" in read_in(cluster, pod))
    wait_until(lambda: "over land" in read(url))


def test_killing_the_leaders_container_heals(cluster: Cluster, url: str) -> None:
    pods = cluster.kubectl("get", "pods", "-l", "app=guestbook", "-o", "name", *N).split()
    post(cluster, pods[0], "before the fall")
    wait_until(lambda: "before the fall" in read(url))
    leader = cluster.kubectl("get", "pods", "-l", "role=leader", "-o", "name", *N).strip()
    subprocess.run(
        ["kubectl", "--kubeconfig", str(cluster.kubeconfig), "exec", leader, *N, "--", "redis-cli", "shutdown", "nosave"],
        check=False, capture_output=True, timeout=60,
    )  # fmt: skip
    wait_until(lambda: cluster.get(leader, *N)["status"]["containerStatuses"][0]["restartCount"] == 1)
    cluster.kubectl("wait", "--for=condition=Ready", leader, *N, "--timeout=60s")

    def goes_on() -> bool:
        try:
            post(cluster, pods[1], "after it")
        except AssertionError:
            return False
        return True

    wait_until(goes_on)

    def is_read() -> bool:
        try:
            return {"before the fall", "after it"} <= set(read(url))
        except urllib.error.HTTPError as err:
            if err.code == 503:  # followers are not ready until they have found the leader again
                return False
            raise

    wait_until(is_read)
