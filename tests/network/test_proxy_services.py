from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1, discovery_v1

from knarr.network.proxy.services import Endpoint, to_service_ports
from tests.network.fakeapi import service, slice_of

HTTP = [{"name": "http", "protocol": "TCP", "port": 80}]
ENDS = [{"name": "http", "protocol": "TCP", "port": 8080}]


def ports_of(obj: dict[str, Any], *slices: dict[str, Any]) -> Any:
    return to_service_ports(
        msgspec.convert(obj, core_v1.Service),
        [msgspec.convert(one, discovery_v1.EndpointSlice) for one in slices],
        node_name="n1",
    )


def endpoint(address: str, node: str = "n1", **conditions: bool) -> dict[str, Any]:
    return {"addresses": [address], "conditions": conditions, "nodeName": node}


READY = endpoint("10.244.0.2", ready=True, serving=True, terminating=False)
FAR = endpoint("10.244.1.2", "n2", ready=True, serving=True, terminating=False)
UNREADY = endpoint("10.244.0.3", ready=False, serving=False, terminating=False)
DRAINING = endpoint("10.244.0.4", ready=False, serving=True, terminating=True)
DEAD = endpoint("10.244.0.5", ready=False, serving=False, terminating=True)
UNKNOWN = endpoint("10.244.0.6")


@pytest.mark.parametrize(
    ("endpoints", "everywhere", "here"),
    [
        ([READY, FAR, UNREADY, DRAINING, DEAD], ["10.244.0.2", "10.244.1.2"], ["10.244.0.2"]),
        ([UNREADY, DRAINING, DEAD], ["10.244.0.4"], ["10.244.0.4"]),
        ([FAR, DRAINING], ["10.244.1.2"], ["10.244.0.4"]),
        ([UNKNOWN], ["10.244.0.6"], ["10.244.0.6"]),
        ([UNREADY, DEAD], [], []),
    ],
    ids=["ready", "draining when none is ready", "draining here when ready is elsewhere", "unknown is ready", "none"],
)
def test_which_endpoints_count(endpoints: list[dict[str, Any]], everywhere: list[str], here: list[str]) -> None:
    (port,) = ports_of(service("web", HTTP, clusterIP="10.96.0.5"), slice_of("web", endpoints, ENDS))  # type: ignore[arg-type]
    assert [one.address for one in port.endpoints] == everywhere
    assert [one.address for one in port.local_endpoints] == here


OTHERS = service("web", HTTP, clusterIP="10.96.0.5")
OTHERS["metadata"]["labels"] = {"service.kubernetes.io/service-proxy-name": "mine"}


@pytest.mark.parametrize(
    "obj",
    [
        service("web", HTTP, clusterIP="None"),
        service("web", HTTP, type="ExternalName", externalName="example.com"),
        service("web", HTTP, clusterIP=""),
        OTHERS,
    ],
    ids=["headless", "external name", "no address yet", "another proxy's"],
)
def test_services_that_need_no_proxy(obj: dict[str, Any]) -> None:
    assert ports_of(obj) == ()


def test_ports_are_matched_by_name_over_all_slices() -> None:
    obj = service("web", [*HTTP, {"name": "dns", "protocol": "UDP", "port": 53}], clusterIP="10.96.0.5")
    second = slice_of("web", ["10.244.0.3"], [{"name": "dns", "protocol": "UDP", "port": 5353}])
    http, dns = ports_of(obj, slice_of("web", ["10.244.0.2"], ENDS), second)
    assert http.endpoints == (Endpoint("10.244.0.2", 8080),)
    assert (dns.protocol, dns.endpoints) == ("udp", (Endpoint("10.244.0.3", 5353),))


def test_what_the_outside_uses() -> None:
    obj = service(
        "web",
        [{**HTTP[0], "nodePort": 30080}],
        clusterIP="10.96.0.5",
        type="LoadBalancer",
        externalIPs=["203.0.113.1"],
        externalTrafficPolicy="Local",
        loadBalancerSourceRanges=["198.51.100.0/24 "],
        sessionAffinity="ClientIP",
    )
    ingress = [{"ip": "203.0.113.7"}, {"ip": "203.0.113.8", "ipMode": "Proxy"}, {"hostname": "lb.example.com"}]
    (port,) = ports_of({**obj, "status": {"loadBalancer": {"ingress": ingress}}})
    assert port.external_ips == ("203.0.113.1",)
    assert port.balancer_ips == ("203.0.113.7",)
    assert port.node_port == 30080
    assert port.is_external_local
    assert port.source_ranges == ("198.51.100.0/24",)
    assert port.affinity_s == 10800
