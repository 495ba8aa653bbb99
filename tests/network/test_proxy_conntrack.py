from knarr.network.proxy.conntrack import Flow, parse_flows, stale_flows
from knarr.network.proxy.services import Endpoint, ServicePort

LISTING = """\
udp      17 29 src=10.244.0.4 dst=10.96.0.6 sport=4000 dport=53 src=10.244.0.2 dst=10.244.0.4 sport=5353 dport=4000 [ASSURED] mark=0 use=1
udp      17 10 src=10.244.0.4 dst=10.96.0.6 sport=4001 dport=53 [UNREPLIED] src=10.244.0.3 dst=10.244.0.4 sport=5353 dport=4001 mark=0 use=1
udp      17 10 src=192.0.2.9 dst=192.0.2.2 sport=4002 dport=30053 src=10.244.0.2 dst=10.244.0.1 sport=5353 dport=4002 mark=0 use=1
udp      17 10 src=10.244.0.4 dst=8.8.8.8 sport=4003 dport=30053 src=8.8.8.8 dst=192.0.2.2 sport=30053 dport=4003 mark=0 use=1
"""
DNS = ServicePort(
    namespace="default", service="dns", name="", protocol="udp", port=53, cluster_ips=("10.96.0.6",), node_port=30053
)


def test_flows_are_read_with_who_answers() -> None:
    flows = parse_flows(LISTING + "conntrack v1.4.7: 4 flow entries have been shown.\n")
    assert flows[0] == Flow("10.244.0.4", 4000, "10.96.0.6", 53, "10.244.0.2", 5353)
    assert len(flows) == 4


def test_flows_to_endpoints_that_are_gone_are_stale() -> None:
    flows = parse_flows(LISTING)
    only_3 = ServicePort(
        namespace="default", service="dns", name="", protocol="udp", port=53, cluster_ips=("10.96.0.6",),
        node_port=30053, endpoints=(Endpoint("10.244.0.3", 5353),),
    )  # fmt: skip
    assert stale_flows(flows, [only_3]) == [flows[0], flows[2]], "the other machine's port 30053 is none of ours"
    assert stale_flows(flows, [DNS]) == flows[:3]
    assert stale_flows(flows, []) == []
