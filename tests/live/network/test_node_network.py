"""The pod network as the container runtime makes it with the real CNI plugins, and cluster DNS on its bridge."""

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from knarr.cluster import dnsprobe
from knarr.kit.clock import SystemClock
from knarr.network import cni, commands, dns
from tests.live.network.conftest import BRIDGE, Machine, Place
from tests.network.fakeapi import FakeApi, service

pytestmark = pytest.mark.live

PLUGINS = next((folder for folder in ("/usr/lib/cni", "/opt/cni/bin") if Path(folder, "bridge").exists()), "")
DIG = """
import socket, sys
from dnslib import DNSRecord
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(2)
client.sendto(DNSRecord.question(sys.argv[2]).pack(), (sys.argv[1], 53))
print(*(str(one.rdata) for one in DNSRecord.parse(client.recv(4096)).rr))
"""


def run_plugin(command: str, plugin: dict[str, Any], network: dict[str, Any], place: Place) -> dict[str, Any]:
    """Call one plugin as libcni does."""
    config = {"cniVersion": network["cniVersion"], "name": network["name"], **plugin}
    environment = {
        "CNI_COMMAND": command,
        "CNI_CONTAINERID": place.name,
        "CNI_NETNS": f"/run/netns/{place.name}",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": PLUGINS,
        "PATH": os.environ["PATH"],
    }
    done = subprocess.run(
        [f"{PLUGINS}/{plugin['type']}"],
        input=json.dumps(config).encode(),
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    answer: dict[str, Any] = json.loads(done.stdout or b"{}")
    return answer


async def test_pods_get_addresses_and_names(machine: Machine, tmp_path: Path) -> None:
    api = FakeApi()
    api.put("namespaces", {"metadata": {"name": "default"}})
    api.put("services", service("web", [{"name": "http", "port": 80}], clusterIP="10.96.0.5"))
    folder = tmp_path / "cni"
    async with api.open_informers() as informers:
        clock = SystemClock()
        config = cni.Config(
            informers=informers,
            clock=clock,
            node_name="n1",
            conf_folder=folder,
            bridge=BRIDGE,
            dns_address="10.96.0.10",
            service_cidr="10.96.0.0/16",
        )
        dns_config = dns.Config(informers=informers, clock=clock, address="10.96.0.10", resolv_conf=tmp_path / "none")
        async with dns.open_dns(dns_config) as server, cni.open_network(config) as network:
            await asyncio.wait_for(server.wait_ready(), 5)
            await asyncio.sleep(0.3)
            assert await dnsprobe.resolve("10.96.0.10", "web.default.svc.cluster.local") == ["10.96.0.5"]
            assert not network.is_ready, "there is no pod range yet"
            api.put("nodes", {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.0.0/24"}})
            await asyncio.wait_for(network.wait_ready(), 5)

            written = json.loads((folder / cni.FILE_NAME).read_text())
            pod = machine._add(Place(f"{machine.tag}pod", ""))
            answer = await asyncio.to_thread(run_plugin, "ADD", written["plugins"][0], written, pod)
            assert answer["ips"][0]["address"] == "10.244.0.2/24"
            command = pod.enter(sys.executable, "-c", DIG, "10.96.0.10", "web.default.svc.cluster.local")
            assert (await commands.run(command)).split() == ["10.96.0.5"]
            pod.address = "10.244.0.2"
            pod.serve(8080)
            assert machine.node.ask("10.244.0.2", 8080) == ["10.244.0.2 10.244.0.1"]
            pod.stop()
            await asyncio.to_thread(run_plugin, "DEL", written["plugins"][0], written, pod)

            api.put("nodes", {"metadata": {"name": "n1"}, "spec": {"podCIDR": "10.244.7.0/24"}})
            await asyncio.sleep(0.3)
            assert "10.244.7.1/24" in await commands.run(["ip", "address", "show", BRIDGE])
            assert "10.244.0.1/24" not in await commands.run(["ip", "address", "show", BRIDGE])
    await check_restart(config)
    await cni.remove(BRIDGE)
    with pytest.raises(commands.CommandFailed):
        await commands.run(["ip", "link", "show", BRIDGE])


async def check_restart(config: cni.Config) -> None:
    """An agent that starts again and does not know its Node yet leaves the gateway to the pods that use it."""
    async with FakeApi().open_informers() as informers, cni.open_network(replace(config, informers=informers)):
        for _ in range(20):
            await asyncio.sleep(0.02)
            assert "10.244.7.1/24" in await commands.run(["ip", "address", "show", BRIDGE])
    assert "10.244.7.0/24" in await commands.run(["ip", "route"])
