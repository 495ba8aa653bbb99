from typing import Any

import pytest

from knarr.node.pods.dns import hosts_file, parse_resolv_conf, pod_dns
from knarr.node.runtime.runtime import Dns
from tests.node.pods.builders import pod

HOST = Dns(("192.0.2.53",), ("corp.example",), ("timeout:1",))
CLUSTER = Dns(
    ("10.96.0.10",), ("ns.svc.cluster.local", "svc.cluster.local", "cluster.local", "corp.example"), ("ndots:5",)
)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTER),
        ({"dnsPolicy": "Default"}, HOST),
        ({"hostNetwork": True}, HOST),
        ({"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, CLUSTER),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, Dns(("1.1.1.1",))),
        (
            {"dnsConfig": {"searches": ["x"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]}},
            Dns(CLUSTER.servers, (*CLUSTER.searches, "x"), ("ndots:2", "edns0")),
        ),
    ],
)
def test_pod_dns(spec: dict[str, Any], expected: Dns) -> None:
    assert pod_dns(pod(**spec), host=HOST, cluster_servers=("10.96.0.10",), domain="cluster.local") == expected


def test_parse_resolv_conf_takes_the_last_search_line() -> None:
    text = "# c\nnameserver 1.1.1.1 # x\nsearch a b\nsearch c.\noptions ndots:1 ndots:1\n; nameserver 2.2.2.2\n"
    assert parse_resolv_conf(text) == Dns(("1.1.1.1",), ("c",), ("ndots:1",))


def test_hosts_file_has_the_full_name_and_aliases() -> None:
    named = pod(hostname="web", subdomain="sub", hostAliases=[{"ip": "1.2.3.4", "hostnames": ["a", "b"]}])
    text = hosts_file(named, ips=["10.0.0.9"], domain="cluster.local", host_file="")
    assert "10.0.0.9\tweb.sub.ns.svc.cluster.local\tweb\n" in text
    assert text.endswith("\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n")


def test_hosts_file_in_the_hosts_network_begins_with_the_hosts() -> None:
    text = hosts_file(
        pod(hostNetwork=True), ips=["192.0.2.1"], domain="cluster.local", host_file="127.0.0.1 localhost\n"
    )
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
