"""Cluster IPs and node ports of Services, and what becomes of them when a Service changes."""

from typing import Any

import pytest

from tests.apiserver.conftest import Api

Object = dict[str, Any]

SERVICES = "/api/v1/namespaces/default/services"
MERGE = "application/merge-patch+json"


def service(name: str, **spec: Any) -> Object:
    return {"metadata": {"name": name}, "spec": {"selector": {"app": name}, "ports": [{"port": 80}], **spec}}


async def test_a_service_gets_an_address_and_families(api: Api) -> None:
    spec = (await api.ok("POST", SERVICES, service("web")))["spec"]
    assert spec["clusterIP"].startswith("10.96.")
    assert spec["clusterIPs"] == [spec["clusterIP"]]
    assert (spec["ipFamilies"], spec["ipFamilyPolicy"], spec["type"]) == (["IPv4"], "SingleStack", "ClusterIP")


async def test_headless_and_external_services_have_none(api: Api) -> None:
    spec = (await api.ok("POST", SERVICES, service("a", clusterIP="None")))["spec"]
    assert (spec["clusterIP"], spec["clusterIPs"], spec["ipFamilies"]) == ("None", ["None"], ["IPv4"])
    body = {"metadata": {"name": "b"}, "spec": {"type": "ExternalName", "externalName": "example.com"}}
    spec = (await api.ok("POST", SERVICES, body))["spec"]
    assert "clusterIP" not in spec
    assert "ipFamilies" not in spec


async def test_a_taken_or_foreign_address_is_refused(api: Api) -> None:
    status = await api.fails(422, "POST", SERVICES, service("a", clusterIP="10.96.0.1"))
    assert status["message"] == (
        'Service "a" is invalid: spec.clusterIPs: Invalid value: ["10.96.0.1"]: '
        "failed to allocate IP 10.96.0.1: provided IP is already allocated"
    )
    status = await api.fails(422, "POST", SERVICES, service("a", clusterIP="10.1.0.1"))
    assert "is not in the valid range. The range of valid IPs is 10.96.0.0/16" in status["message"]


async def test_addresses_are_given_back(api: Api) -> None:
    await api.ok("POST", SERVICES, service("a", clusterIP="10.96.1.1"))
    await api.fails(422, "POST", SERVICES, service("b", clusterIP="10.96.1.1"))
    await api.ok("DELETE", f"{SERVICES}/a")
    await api.ok("POST", SERVICES, service("b", clusterIP="10.96.1.1"))


async def test_a_refused_service_holds_nothing(api: Api) -> None:
    ports = [{"port": 80, "nodePort": 30080, "name": "x"}]
    await api.ok("POST", SERVICES, service("a", type="NodePort", ports=ports))
    status = await api.fails(422, "POST", SERVICES, service("b", type="NodePort", clusterIP="10.96.1.2", ports=ports))
    assert "spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated" in status["message"]
    await api.ok("POST", f"{SERVICES}?dryRun=All", service("b", clusterIP="10.96.1.2"))
    await api.ok("POST", SERVICES, service("b", clusterIP="10.96.1.2"))


async def test_types_change_and_node_ports_with_them(api: Api) -> None:
    made = await api.ok("POST", SERVICES, service("a"))
    exposed = await api.ok("PATCH", f"{SERVICES}/a", {"spec": {"type": "NodePort"}}, content_type=MERGE)
    port = exposed["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    assert exposed["spec"]["clusterIP"] == made["spec"]["clusterIP"]
    put = {**service("a", type="NodePort"), "metadata": {"name": "a"}}
    assert (await api.ok("PUT", f"{SERVICES}/a", put))["spec"]["ports"][0]["nodePort"] == port
    hidden = await api.ok("PATCH", f"{SERVICES}/a", {"spec": {"type": "ClusterIP"}}, content_type=MERGE)
    assert "nodePort" not in hidden["spec"]["ports"][0]
    await api.ok("POST", SERVICES, service("b", type="NodePort", ports=[{"port": 1, "nodePort": port}]))
    external = {"spec": {"type": "ExternalName", "externalName": "example.com"}}
    gone = await api.ok("PATCH", f"{SERVICES}/a", external, content_type=MERGE)
    assert "clusterIP" not in gone["spec"]
    await api.ok("POST", SERVICES, service("c", clusterIP=made["spec"]["clusterIP"]))


async def test_an_address_cannot_be_changed(api: Api) -> None:
    await api.ok("POST", SERVICES, service("a"))
    status = await api.fails(422, "PATCH", f"{SERVICES}/a", {"spec": {"clusterIP": "10.96.9.9"}}, content_type=MERGE)
    assert "may not change once set" in status["message"]


async def test_each_address_has_an_object_that_says_whose_it_is(api: Api) -> None:
    made = await api.ok("POST", SERVICES, service("a"))
    await api.clock.advance(0)
    path = f"/apis/networking.k8s.io/v1/ipaddresses/{made['spec']['clusterIP']}"
    found = await api.ok("GET", path)
    assert found["spec"]["parentRef"] == {"resource": "services", "namespace": "default", "name": "a"}
    await api.ok("DELETE", f"{SERVICES}/a")
    await api.clock.advance(0)
    await api.fails(404, "GET", path)


@pytest.mark.parametrize("port", [80, 29999, 32768])
async def test_node_ports_have_a_range(api: Api, port: int) -> None:
    body = service("a", type="NodePort", ports=[{"port": 80, "nodePort": port}])
    status = await api.fails(422, "POST", SERVICES, body)
    assert "provided port is not in the valid range. The range of valid ports is 30000-32767" in status["message"]
