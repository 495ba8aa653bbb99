from dataclasses import replace

from knarr.network.proxy.rules import CHAIN, SET, SPREAD, plan_rules
from knarr.network.proxy.services import Endpoint, ServicePort
from knarr.network.proxy.skeleton import Table

TABLE = Table(
    name="knarr-t", bridge="knarr0", pod_cidr="10.244.0.0/16", service_cidr="10.96.0.0/16", dns_address="10.96.0.10"
)
NEAR = Endpoint("10.244.0.2", 8080, True)
FAR = Endpoint("10.244.1.2", 8080, False)
WEB = ServicePort(
    namespace="default",
    service="web",
    name="http",
    protocol="tcp",
    port=80,
    cluster_ips=("10.96.0.5",),
    endpoints=(NEAR, FAR),
    local_endpoints=(NEAR,),
)
EXTERNAL_LOCAL = """\
ip saddr 10.244.0.0/16 goto backends/2
fib saddr type local jump mark-for-masquerade
fib saddr type local goto backends/2
goto local-backends/1"""


def test_a_cluster_address_is_map_elements_only() -> None:
    assert plan_rules([WEB], TABLE) == {
        ("service-ips", "10.96.0.5 . tcp . 80"): "goto backends/2",
        ("backends", "10.96.0.5 . tcp . 80 . 0"): "10.244.0.2 . 8080",
        ("backends", "10.96.0.5 . tcp . 80 . 1"): "10.244.1.2 . 8080",
        ("hairpin-connections", "10.244.0.2 . 10.244.0.2"): "",
        (SPREAD, "2"): "",
    }


def test_without_endpoints_all_addresses_reject() -> None:
    port = replace(WEB, node_port=30080, external_ips=("203.0.113.1",), endpoints=(), local_endpoints=())
    assert plan_rules([port], TABLE) == {
        ("no-endpoint-services", "10.96.0.5 . tcp . 80"): "goto reject-chain",
        ("no-endpoint-services", "203.0.113.1 . tcp . 80"): "goto reject-chain",
        ("no-endpoint-nodeports", "tcp . 30080"): "goto reject-chain",
    }


def test_traffic_from_outside_is_masqueraded() -> None:
    rules = plan_rules([replace(WEB, cluster_ips=(), node_port=30080)], TABLE)
    assert rules["service-nodeports", "tcp . 30080"] == "goto external/nodeport-backends/2"
    assert rules[CHAIN, "external/nodeport-backends/2"] == "jump mark-for-masquerade\ngoto nodeport-backends/2"
    assert rules["nodeport-backends", "tcp . 30080 . 1"] == "10.244.1.2 . 8080"


def test_local_policy_keeps_outside_traffic_here_and_inside_traffic_everywhere() -> None:
    port = replace(WEB, cluster_ips=(), balancer_ips=("203.0.113.7",), is_external_local=True)
    rules = plan_rules([port], TABLE)
    assert rules["service-ips", "203.0.113.7 . tcp . 80"] == "goto external/backends/2/local-backends/1"
    assert rules[CHAIN, "external/backends/2/local-backends/1"] == EXTERNAL_LOCAL
    nothing_here = plan_rules([replace(port, local_endpoints=())], TABLE)
    assert nothing_here["no-endpoint-services", "203.0.113.7 . tcp . 80"] == "drop"
    assert nothing_here["service-ips", "203.0.113.7 . tcp . 80"] == "goto external/backends/2/none"


def test_internal_local_policy_without_local_endpoints_drops() -> None:
    rules = plan_rules([replace(WEB, is_internal_local=True, local_endpoints=())], TABLE)
    assert rules["no-endpoint-services", "10.96.0.5 . tcp . 80"] == "drop"


def test_affinity_remembers_clients_by_endpoint() -> None:
    rules = plan_rules([replace(WEB, affinity_s=60)], TABLE)
    sticky = "sticky-all/default/web/tcp/http"
    assert rules["service-ips", "10.96.0.5 . tcp . 80"] == f"goto {sticky}"
    near = "affinity/default/web/tcp/http/10.244.0.2/8080/60"
    assert rules[SET, near] == "type ipv4_addr; flags dynamic,timeout; timeout 60s;"
    lines = rules[CHAIN, sticky].splitlines()
    assert lines[0] == f"ip saddr @{near} goto endpoint/default/web/tcp/http/10.244.0.2/8080"
    assert lines[-1].startswith("numgen random mod 2 vmap { 0 : goto endpoint/")


def test_source_ranges_guard_balancer_addresses_alone() -> None:
    port = replace(WEB, balancer_ips=("203.0.113.7",), source_ranges=("198.51.100.0/24",))
    rules = plan_rules([port], TABLE)
    assert rules["firewall-ips", "203.0.113.7 . tcp . 80"] == "goto firewall/default/web/tcp/http"
    assert rules[CHAIN, "firewall/default/web/tcp/http"] == "ip saddr != { 198.51.100.0/24 } drop"
    assert [name for group, name in rules if group == "firewall-ips"] == ["203.0.113.7 . tcp . 80"]
