from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.network.proxy.hostports import plan_host_ports
from knarr.network.proxy.rules import CHAIN, SPREAD
from tests.network.test_proxy_rules import TABLE


def pod(*ports: dict[str, Any], phase: str = "Running", **spec: Any) -> core_v1.Pod:
    containers = [{"name": "c", "ports": list(ports)}]
    obj = {"spec": {"containers": containers, **spec}, "status": {"podIP": "10.244.0.2", "phase": phase}}
    return msgspec.convert(obj, core_v1.Pod)


def test_a_host_port_leads_to_its_pod() -> None:
    assert plan_host_ports(pod({"containerPort": 80, "hostPort": 8080}, {"containerPort": 81}), TABLE) == {
        (
            CHAIN,
            "host-port/nodeport-backends",
        ): "fib saddr type local jump mark-for-masquerade\ngoto nodeport-backends/1",
        ("service-nodeports", "tcp . 8080"): "goto host-port/nodeport-backends",
        ("nodeport-backends", "tcp . 8080 . 0"): "10.244.0.2 . 80",
        ("hairpin-connections", "10.244.0.2 . 10.244.0.2"): "",
        (SPREAD, "1"): "",
    }


def test_a_host_address_narrows_it() -> None:
    rules = plan_host_ports(
        pod({"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "192.0.2.2"}), TABLE
    )
    assert rules["service-ips", "192.0.2.2 . udp . 5353"] == "goto host-port/backends"
    assert rules["backends", "192.0.2.2 . udp . 5353 . 0"] == "10.244.0.2 . 53"


def test_pods_that_have_none() -> None:
    port = {"containerPort": 80, "hostPort": 80}
    assert plan_host_ports(pod(port, hostNetwork=True), TABLE) == {}
    assert plan_host_ports(pod(port, phase="Succeeded"), TABLE) == {}
