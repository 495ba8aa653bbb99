"""Services through real nftables: who reaches what, and how the connection looks at its end."""

import asyncio
import contextlib
import shutil
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from knarr.kit import metrics
from knarr.kit.clock import SystemClock
from knarr.network import bridge, commands, proxy
from knarr.network.proxy import nft
from tests.live.network.conftest import BRIDGE, NODE_IP, OUTSIDE_IP, Machine
from tests.network.fakeapi import FakeApi, service, slice_of

pytestmark = pytest.mark.live

WEB = [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}]
WEB_ENDS = [{"name": "http", "protocol": "TCP", "port": 8080}]
TABLE = "knarr-test"
FAILURES = "kubeproxy_sync_proxy_rules_nftables_sync_failures_total"


@contextlib.asynccontextmanager
async def open_node(api: FakeApi) -> AsyncIterator[proxy.Proxy]:
    async with api.open_informers() as informers:
        config = proxy.Config(
            informers=informers,
            clock=SystemClock(),
            node_name="n1",
            table=TABLE,
            bridge=BRIDGE,
            pod_cidr="10.244.0.0/16",
            service_cidr="10.96.0.0/16",
            dns_address="10.96.0.10",
        )
        async with proxy.open_proxy(config) as opened:
            await asyncio.wait_for(opened.wait_synced(), 10)
            yield opened
    failures = [line for line in metrics.PROCESS.expose().decode().splitlines() if line.startswith(FAILURES)]
    assert all(line.split()[1] == "0.0" for line in failures), "every transaction was taken at the first attempt"


async def ensure_bridge() -> None:
    await bridge.ensure(
        bridge.Bridge(name=BRIDGE, gateway="10.244.0.1/24", dns_address="10.96.0.10", service_cidr="10.96.0.0/16")
    )


def here(address: str, **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": True, **conditions}, "nodeName": "n1"}


def there(address: str) -> dict[str, Any]:
    return {"addresses": [address], "conditions": {"ready": True}, "nodeName": "n2"}


async def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def names(answers: list[str]) -> set[str]:
    return {answer.split()[0] for answer in answers}


async def test_cluster_ip_from_everywhere(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    pods = [machine.add_pod(number) for number in (2, 3, 4)]
    for pod in pods[:2]:
        pod.serve(8080)
    api = FakeApi()
    api.put("services", service("web", WEB, clusterIP="10.96.0.5"))
    api.put("endpointslices", slice_of("web", [here("10.244.0.2"), here("10.244.0.3")], WEB_ENDS))
    async with open_node(api):
        counts = Counter(pods[2].ask("10.96.0.5", 80, count=60))
        assert set(counts) == {"10.244.0.2 10.244.0.4", "10.244.0.3 10.244.0.4"}, "pods keep their source address"
        assert min(counts.values()) > 10
        assert names(machine.node.ask("10.96.0.5", 80, count=20)) == {"10.244.0.2", "10.244.0.3"}
        assert set(outside.ask("10.96.0.5", 80, count=20)) == {"10.244.0.2 10.244.0.1", "10.244.0.3 10.244.0.1"}
        hairpin = Counter(pods[0].ask("10.96.0.5", 80, count=30))
        assert set(hairpin) == {"10.244.0.2 10.244.0.1", "10.244.0.3 10.244.0.2"}, "a pod reaches itself"


async def test_addresses_without_endpoints_refuse(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    pod = machine.add_pod(2)
    pod.serve(8080)
    api = FakeApi()
    both = [*WEB, {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": 5353}]
    api.put("services", service("web", both, clusterIP="10.96.0.5", type="NodePort") | {})
    api.objects["services"]["default", "web"]["spec"]["ports"][0]["nodePort"] = 30080
    async with open_node(api):
        for place, address, port in [
            (pod, "10.96.0.5", 80),
            (machine.node, "10.96.0.5", 80),
            (outside, NODE_IP, 30080),
            (machine.node, NODE_IP, 30080),
            (pod, "10.96.0.5", 81),  # no such port
            (pod, "10.96.7.7", 80),  # no such Service
        ]:
            began = time.monotonic()
            assert place.ask(address, port) == ["ConnectionRefusedError"], (place.name, address, port)
            assert time.monotonic() - began < 1
        assert pod.ask("10.96.0.5", 53, kind="udp") == ["ConnectionRefusedError"]
        api.put("endpointslices", slice_of("web", [here("10.244.0.2")], WEB_ENDS))
        await wait_until(lambda: names(outside.ask(NODE_IP, 30080)) == {"10.244.0.2"})
        api.put("endpointslices", slice_of("web", [], WEB_ENDS))
        await wait_until(lambda: outside.ask(NODE_IP, 30080) == ["ConnectionRefusedError"])


async def test_node_ports(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    pods = [machine.add_pod(number) for number in (2, 3)]
    for pod in pods:
        pod.serve(8080)
    api = FakeApi()
    ports = [{**WEB[0], "nodePort": 30080}]
    api.put("services", service("web", ports, clusterIP="10.96.0.5", type="NodePort"))
    api.put("endpointslices", slice_of("web", [here("10.244.0.2"), here("10.244.0.3")], WEB_ENDS))
    async with open_node(api):
        assert set(outside.ask(NODE_IP, 30080, count=20)) == {"10.244.0.2 10.244.0.1", "10.244.0.3 10.244.0.1"}
        for place, address in [(machine.node, NODE_IP), (machine.node, "127.0.0.1"), (pods[0], NODE_IP)]:
            assert names(place.ask(address, 30080, count=20)) == {"10.244.0.2", "10.244.0.3"}, (place.name, address)
        assert pods[0].ask("127.0.0.1", 30080) == ["ConnectionRefusedError"]


async def test_external_traffic_policy_local_keeps_the_source(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    pod = machine.add_pod(2)
    pod.serve(8080)
    api = FakeApi()
    ports = [{**WEB[0], "nodePort": 30080}]
    policy: dict[str, Any] = {"externalTrafficPolicy": "Local", "healthCheckNodePort": 31000}
    local = service("web", ports, clusterIP="10.96.0.5", type="LoadBalancer", **policy)
    api.put("services", {**local, "status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.7"}]}}})
    api.put("endpointslices", slice_of("web", [here("10.244.0.2"), there("10.244.1.2")], WEB_ENDS))
    async with open_node(api):
        assert set(outside.ask(NODE_IP, 30080, count=10)) == {"10.244.0.2 192.0.2.99"}
        assert set(outside.ask("203.0.113.7", 80, count=10)) == {"10.244.0.2 192.0.2.99"}
        check = outside.enter("curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", f"{NODE_IP}:31000")
        assert await commands.run(check) == "200"
        api.put("endpointslices", slice_of("web", [there("10.244.1.2")], WEB_ENDS))
        await wait_until(lambda: outside.ask("203.0.113.7", 80) == ["TimeoutError"])
        assert await commands.run(check) == "503"


async def test_internal_traffic_policy_local(machine: Machine) -> None:
    await ensure_bridge()
    pod, client = machine.add_pod(2), machine.add_pod(3)
    pod.serve(8080)
    api = FakeApi()
    api.put("services", service("web", WEB, clusterIP="10.96.0.5", internalTrafficPolicy="Local"))
    api.put("endpointslices", slice_of("web", [here("10.244.0.2"), there("10.244.1.2")], WEB_ENDS))
    async with open_node(api):
        assert names(client.ask("10.96.0.5", 80, count=10)) == {"10.244.0.2"}


async def test_session_affinity_sticks_until_the_endpoint_goes(machine: Machine) -> None:
    await ensure_bridge()
    pods = [machine.add_pod(number) for number in (2, 3, 4, 5)]
    for pod in pods[:3]:
        pod.serve(8080)
    api = FakeApi()
    sticky = {"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 2}}}
    api.put("services", service("web", WEB, clusterIP="10.96.0.5", **sticky))
    addresses = ["10.244.0.2", "10.244.0.3", "10.244.0.4"]
    api.put("endpointslices", slice_of("web", addresses, WEB_ENDS))
    async with open_node(api):
        (first,) = names(pods[3].ask("10.96.0.5", 80, count=20))
        api.put("endpointslices", slice_of("web", [one for one in addresses if one != first], WEB_ENDS))
        await wait_until(lambda: first not in names(pods[3].ask("10.96.0.5", 80)))
        assert len(names(pods[3].ask("10.96.0.5", 80, count=20))) == 1
        found: set[str] = set()
        for _ in range(12):
            await asyncio.sleep(2.2)
            found |= names(pods[3].ask("10.96.0.5", 80))
            if len(found) > 1:
                break
        assert len(found) == 2, "the memory of a client ends"


async def test_sticky_clients_are_remembered_over_a_restart(machine: Machine) -> None:
    await ensure_bridge()
    pods = [machine.add_pod(number) for number in (2, 3, 4, 5)]
    for pod in pods[:3]:
        pod.serve(8080)
    api = FakeApi()
    api.put("services", service("web", WEB, clusterIP="10.96.0.5", sessionAffinity="ClientIP"))
    api.put("endpointslices", slice_of("web", ["10.244.0.2", "10.244.0.3", "10.244.0.4"], WEB_ENDS))
    async with open_node(api):
        first = pods[3].ask("10.96.0.5", 80)
    for _ in range(6):
        async with open_node(api):
            assert pods[3].ask("10.96.0.5", 80) == first


async def test_udp_clients_follow_the_endpoints(machine: Machine) -> None:
    await ensure_bridge()
    pods = [machine.add_pod(number) for number in (2, 3, 4)]
    for pod in pods[:2]:
        pod.serve(5353)
    api = FakeApi()
    ends = [{"name": "", "protocol": "UDP", "port": 5353}]
    api.put("services", service("dns", [{"protocol": "UDP", "port": 53, "targetPort": 5353}], clusterIP="10.96.0.6"))
    api.put("endpointslices", slice_of("dns", ["10.244.0.2"], ends))
    async with open_node(api):
        asking = pods[2].start_asking("10.96.0.6", 53, kind="udp-kept", count=60)
        await asyncio.sleep(0.5)
        api.put("endpointslices", slice_of("dns", ["10.244.0.3"], ends))
        output, _ = await asyncio.to_thread(asking.communicate)
        answers = output.decode().splitlines()
        assert names(answers[:3]) == {"10.244.0.2"}
        assert names(answers[-3:]) == {"10.244.0.3"}


async def test_restart_keeps_connections_and_lost_table_returns(machine: Machine) -> None:
    await ensure_bridge()
    pod, client = machine.add_pod(2), machine.add_pod(3)
    pod.serve(8080)
    api = FakeApi()
    api.put("services", service("web", WEB, clusterIP="10.96.0.5"))
    api.put("endpointslices", slice_of("web", ["10.244.0.2"], WEB_ENDS))
    async with open_node(api):
        asking = client.start_asking("10.96.0.5", 80, kind="tcp", count=3000)
        await asyncio.sleep(0.3)
    assert names(client.ask("10.96.0.5", 80)) == {"10.244.0.2"}, "rules outlive the proxy"
    async with open_node(api):
        output, _ = await asyncio.to_thread(asking.communicate)
        assert names(output.decode().splitlines()) == {"10.244.0.2"}
    await proxy.remove(TABLE)
    assert TABLE not in await commands.run(["nft", "list", "tables"])
    await bridge.remove(BRIDGE)
    assert BRIDGE not in await commands.run(["ip", "link"])


async def test_more_endpoints_than_the_skeleton_knows(machine: Machine) -> None:
    await ensure_bridge()
    pod, client = machine.add_pod(2), machine.add_pod(3)
    ports = range(9000, 9040)
    pod.serve(*ports)
    api = FakeApi()
    api.put("services", service("web", WEB, clusterIP="10.96.0.5"))
    api.put("endpointslices", slice_of("web", ["10.244.0.2"], [{"name": "http", "protocol": "TCP", "port": 9000}]))
    async with open_node(api):
        assert names(client.ask("10.96.0.5", 80)) == {"10.244.0.2"}
        for port in ports:
            part = slice_of("web", ["10.244.0.2"], [{"name": "http", "protocol": "TCP", "port": port}])
            part["metadata"]["name"] = f"web-{port}"
            api.put("endpointslices", part)
        await asyncio.sleep(0.5)
        assert await nft.has_chain(f"ip {TABLE}", "backends/40")
        assert names(client.ask("10.96.0.5", 80, count=200)) == {"10.244.0.2"}


async def test_host_ports(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    pod = machine.add_pod(2)
    pod.serve(8080)
    api = FakeApi()
    async with open_node(api):
        assert outside.ask(NODE_IP, 8000) == ["ConnectionRefusedError"]
        ports = [{"containerPort": 8080, "hostPort": 8000}]
        obj = {
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"containers": [{"name": "c", "ports": ports}]},
        }
        api.put("pods", {**obj, "status": {"podIP": "10.244.0.2", "phase": "Running"}})
        await wait_until(lambda: outside.ask(NODE_IP, 8000) == ["10.244.0.2 192.0.2.99"])
        assert machine.node.ask("127.0.0.1", 8000) == ["10.244.0.2 10.244.0.1"]
        assert names(pod.ask(NODE_IP, 8000)) == {"10.244.0.2"}
        api.remove("pods", "default", "web")
        await wait_until(lambda: outside.ask(NODE_IP, 8000) == ["ConnectionRefusedError"])


async def test_pods_go_out_as_the_node(machine: Machine) -> None:
    await ensure_bridge()
    outside = machine.add_outside()
    outside.serve(7000)
    pod = machine.add_pod(2)
    async with open_node(FakeApi()):
        assert pod.ask(OUTSIDE_IP, 7000) == [f"{OUTSIDE_IP} {NODE_IP}"]


@pytest.mark.skipif(shutil.which("iptables") is None, reason="no iptables here")
async def test_a_firewall_that_drops_lets_pods_through(machine: Machine) -> None:
    outside = machine.add_outside()
    outside.serve(7000)
    for chain in ("FORWARD", "INPUT"):
        await commands.run(["iptables", "-P", chain, "DROP"])
    await commands.run(
        ["iptables", "-A", "INPUT", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"]
    )
    await ensure_bridge()
    await ensure_bridge()
    pod = machine.add_pod(2)
    pod.serve(8080)
    machine.node.serve(6443)
    api = FakeApi()
    api.put("services", service("web", [{**WEB[0], "nodePort": 30080}], clusterIP="10.96.0.5", type="NodePort"))
    api.put("endpointslices", slice_of("web", ["10.244.0.2"], WEB_ENDS))
    async with open_node(api):
        assert pod.ask(OUTSIDE_IP, 7000) == [f"{OUTSIDE_IP} {NODE_IP}"]
        assert pod.ask(NODE_IP, 6443) == [f"{NODE_IP} 10.244.0.2"]
        assert outside.ask(NODE_IP, 30080) == ["10.244.0.2 10.244.0.1"]
    assert (await commands.run(["iptables", "-S"])).count(BRIDGE) == 3
    await bridge.remove(BRIDGE)
    assert BRIDGE not in await commands.run(["iptables", "-S"])
