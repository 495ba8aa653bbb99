"""Two servers on three etcd members: each is killed in turn under load, and nothing that was acknowledged is lost."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.live.conftest import wait_until
from tests.live.machines import Links, Machine, open_links

pytestmark = pytest.mark.live

ROUTER = "192.0.2.1"
BACK_S = 5.0
"""The API is back this soon when a server or an etcd member is lost."""


@dataclass
class Etcd:
    """Three members on the router."""

    links: Links
    folder: Path
    processes: list["subprocess.Popen[bytes] | None"] = field(default_factory=lambda: [None] * 3)

    @property
    def store(self) -> str:
        return "etcd://" + ",".join(f"{ROUTER}:{2379 + 10 * number}" for number in range(3))

    def start(self, number: int) -> None:
        """Start a member; its data stay from one start to the next."""
        peers = ",".join(f"m{one}=http://{ROUTER}:{2380 + 10 * one}" for one in range(3))
        here, peer = f"http://{ROUTER}:{2379 + 10 * number}", f"http://{ROUTER}:{2380 + 10 * number}"
        command = ["nsenter", f"--net=/run/netns/{self.links.tag}r", "etcd", f"--name=m{number}"]
        command += [f"--data-dir={self.folder}/{number}", f"--initial-cluster={peers}"]
        command += [f"--listen-client-urls={here}", f"--advertise-client-urls={here}"]
        command += [f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}"]
        with open(self.folder / f"{number}.log", "ab") as log:
            self.processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        """Kill a member."""
        process = self.processes[number]
        if process is not None:
            process.kill()
            process.wait()
            self.processes[number] = None


@dataclass
class Servers:
    """What the tests work with."""

    links: Links
    etcd: Etcd

    @property
    def first(self) -> Machine:
        return self.links.machines[0]

    def pid(self, machine: Machine) -> int:
        """The id, here, of a machine's server process."""
        found = run_in_host(machine)
        return found[0] if found else 0

    def load(self, seconds: float, at: Machine | None = None) -> "subprocess.Popen[str]":
        """Start writers and a watcher on the router, which go to one server first; returns once they work."""
        ordered = sorted(self.links.machines[:2], key=lambda machine: machine is not (at or self.first))
        targets = ",".join(f"{machine.address}:6443" for machine in ordered)
        script = str(Path(__file__).with_name("ha_client.py"))
        command = ["nsenter", f"--net=/run/netns/{self.links.tag}r", sys.executable, script]
        command += [f"{self.first.folder}/kubeconfig", targets, str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        return process


def run_in_host(machine: Machine) -> list[int]:
    """The ids, as seen from outside, of the server processes of a machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"server" in words and machine.name.encode() in words and b"knarr" in words:
            found.append(int(entry.parent.name))
    return found


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Two servers on two machines, and a node on a third."""
    folder = tmp_path_factory.mktemp("servers")
    with open_links(f"h{uuid.uuid4().hex[:5]}", folder) as links:
        etcd = Etcd(links, folder)
        try:
            for number in range(3):
                etcd.start(number)
            first = links.add()
            alone = ["--disable-agent", "--wait", "170"]
            first.knarr("up", *alone, "--store", etcd.store, "--kubeconfig", f"{first.folder}/kubeconfig")
            command = first.knarr("token", "create", "--control-plane", "--print-join-command").split()
            second = links.add()
            second.knarr(*command[1:], *alone, "--kubeconfig", f"{second.folder}/kubeconfig")
            third = links.add()
            third.knarr("up", *first.knarr("token", "create", "--print-join-command").split()[2:], "--wait", "170")
            yield Servers(links, etcd)
        finally:
            for machine in reversed(links.machines):
                if machine.pid:
                    machine.knarr("down", check=False)
            for number in range(3):
                etcd.kill(number)


def check(process: "subprocess.Popen[str]", *, back_s: float = BACK_S) -> dict[str, Any]:
    """Wait for the clients and check what they were told."""
    output, complaint = process.communicate(timeout=180)
    assert process.returncode == 0, complaint
    told: dict[str, Any] = json.loads(output)
    sys.stderr.write(f"{told}\n")
    assert told["acknowledged"] > 50
    assert told["lost"] == []
    assert told["missed"] == []
    assert told["relists"] == 1, "every watch goes on where it stopped"
    assert told["silence_s"] <= back_s
    return told


def test_both_servers_are_endpoints_and_one_of_them_leads(servers: Servers) -> None:
    first, second, _ = servers.links.machines
    for machine in (first, second):
        addresses = [one["addresses"][0] for one in machine.get("endpointslice", "kubernetes")["endpoints"]]
        assert addresses == [first.address, second.address]
    leases = first.get("leases", "-n", "kube-system")["items"]
    names = {one["metadata"]["name"]: one["spec"]["holderIdentity"] for one in leases}
    assert names["kube-controller-manager"].startswith((first.name, second.name))
    assert names["kube-scheduler"].startswith((first.name, second.name))
    assert sum(name.startswith("apiserver-") for name in names) == 2
    (node,) = first.get("nodes")["items"]
    assert node["metadata"]["name"] == servers.links.machines[2].name
    keys = [machine.folder / "lib" / machine.name / "pki" / "ca.key" for machine in (first, second)]
    assert keys[0].read_bytes() == keys[1].read_bytes()
    assert {key.stat().st_mode & 0o777 for key in keys} == {0o600}


@pytest.mark.parametrize("number", [0, 1])
def test_a_server_that_is_killed_is_not_missed(servers: Servers, number: int) -> None:
    machine = servers.links.machines[number]
    loading = servers.load(8, machine)
    time.sleep(2)
    before = servers.pid(machine)
    os.kill(before, signal.SIGKILL)
    check(loading)
    wait_until(lambda: servers.pid(machine) not in (0, before))
    wait_until(lambda: "ok" in machine.kubectl("get", "--raw", "/readyz", check=False))


@pytest.mark.parametrize("number", [0, 1, 2])
def test_an_etcd_member_that_is_killed_is_not_missed(servers: Servers, number: int) -> None:
    loading = servers.load(10)
    time.sleep(2)
    servers.etcd.kill(number)
    time.sleep(4)
    servers.etcd.start(number)
    check(loading)


def test_a_rolling_restart_loses_nothing(servers: Servers) -> None:
    loading = servers.load(25)
    for machine in servers.links.machines[:2]:
        before = servers.pid(machine)
        os.kill(before, signal.SIGTERM)
        wait_until(lambda: servers.pid(machine) not in (0, before))  # noqa: B023 - waited for here
        wait_until(lambda: "ok" in own_readyz(machine))  # noqa: B023
        time.sleep(1)
    check(loading, back_s=2.0)


def own_readyz(machine: Machine) -> str:
    """What the server of a machine itself says."""
    return machine.kubectl("get", "--raw", "/readyz", "--server", "https://127.0.0.1:6443", check=False)


def test_a_machine_that_is_gone_is_taken_out_and_another_leads(servers: Servers) -> None:
    first, second, _ = servers.links.machines
    leader = first.get("lease", "kube-controller-manager", "-n", "kube-system")["spec"]["holderIdentity"]
    lost, left = (first, second) if leader.startswith(first.name) else (second, first)
    loading = servers.load(14, lost)
    time.sleep(2)
    lost.pull_plug()
    wait_until(lambda: endpoints(left) == [left.address], timeout_s=15, what="endpoints without the lost server")
    check(loading, back_s=BACK_S + 1)

    def leads() -> Callable[[], bool] | bool:
        spec = left.get("lease", "kube-controller-manager", "-n", "kube-system")["spec"]
        return bool(spec["holderIdentity"].startswith(left.name))

    wait_until(leads, what="another leader")
    left.kubectl("create", "deployment", "after", "--image=localhost/knarr/pause:1")
    left.kubectl("rollout", "status", "deployment/after", "--timeout=60s")
    assert "1/1" in servers.links.machines[2].knarr("status"), "the node found the other server"
    lost.start()
    lost.knarr("up")
    wait_until(lambda: len(endpoints(left)) == 2, what="both servers")


def endpoints(machine: Machine) -> list[str]:
    """The servers, as the Service has them."""
    shown = machine.kubectl("get", "endpointslice", "kubernetes", "-o", "json", check=False)
    try:
        return [one["addresses"][0] for one in json.loads(shown)["endpoints"]]
    except ValueError:
        return []
