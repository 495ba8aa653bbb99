"""Which roads lead to the pods of other nodes; that packets take them is shown live."""

from lightkube.models import core_v1, meta_v1

from knarr.network import routes
from knarr.network.routes import Peer

ON_LINK = "192.0.2.3 dev eth0 src 192.0.2.2 uid 0 \\    cache"
BEYOND = "198.51.100.7 via 192.0.2.1 dev eth0 src 192.0.2.2 uid 0 \\    cache"


def node(name: str, pod_range: str, address: str, **labels: str) -> core_v1.Node:
    addresses = [core_v1.NodeAddress(address=name, type="Hostname")]
    if address:
        addresses.append(core_v1.NodeAddress(address=address, type="InternalIP"))
    return core_v1.Node(
        metadata=meta_v1.ObjectMeta(name=name, labels={key.replace("_", "/"): value for key, value in labels.items()}),
        spec=core_v1.NodeSpec(podCIDR=pod_range or None),
        status=core_v1.NodeStatus(addresses=addresses),
    )


def test_other_nodes_with_addresses_are_peers() -> None:
    simulated = node("s", "10.244.9.0/24", "192.0.2.9")
    assert simulated.metadata is not None
    simulated.metadata.labels = {routes.SIMULATED: "sim"}
    nodes = [
        node("me", "10.244.0.0/24", "192.0.2.2"),
        node("b", "10.244.2.0/24", "192.0.2.4"),
        node("a", "10.244.1.0/24", "192.0.2.3"),
        node("fresh", "", "192.0.2.5"),
        node("nowhere", "10.244.3.0/24", ""),
        simulated,
    ]
    own, peers = routes.find_peers(nodes, "me")
    assert own == "10.244.0.0/24"
    assert peers == [Peer("10.244.1.0/24", "192.0.2.3"), Peer("10.244.2.0/24", "192.0.2.4")]


def test_a_node_on_the_link_is_a_gateway_and_one_beyond_a_router_is_reached_by_vxlan() -> None:
    ways = routes.parse_ways(f"{ON_LINK} \n{BEYOND} \n")
    peers = [Peer("10.244.1.0/24", "192.0.2.3"), Peer("10.244.2.0/24", "198.51.100.7")]
    assert routes.plan(peers, ways, {}, tunnel="knarr0x") == [
        "route replace 10.244.1.0/24 via 192.0.2.3 dev eth0 proto 75",
        "route replace 10.244.2.0/24 via 10.244.2.0 dev knarr0x onlink proto 75",
    ]


def test_what_is_there_is_left_alone_and_what_is_stale_goes() -> None:
    present = routes.parse_routes(
        "10.244.1.0/24 via 192.0.2.3 dev eth0 \n10.244.2.0/24 via 10.244.2.0 dev knarr0x onlink \n"
        "10.244.7.0/24 via 192.0.2.7 dev eth0 \n"
    )
    ways = routes.parse_ways(f"{ON_LINK}\n{BEYOND}\n")
    peers = [Peer("10.244.1.0/24", "192.0.2.3"), Peer("10.244.2.0/24", "198.51.100.7")]
    assert routes.plan(peers, ways, present, tunnel="knarr0x") == ["route del 10.244.7.0/24 proto 75"]


def test_nodes_without_a_way_and_other_agents_of_this_machine_have_no_route() -> None:
    ways = routes.parse_ways("local 192.0.2.2 dev lo src 192.0.2.2 uid 0 \\    cache <local>\n")
    peers = [Peer("10.244.1.0/24", "192.0.2.2"), Peer("10.244.2.0/24", "203.0.113.9")]
    assert routes.plan(peers, ways, {}, tunnel="knarr0x") == []


def test_far_ends_have_addresses_that_need_not_be_learned() -> None:
    assert routes.link_address("192.0.2.3") == "02:4b:c0:00:02:03"
    assert routes.network_id("10.244.0.0/16") != routes.network_id("10.243.0.0/16")
    assert routes.network_id("10.244.0.0/16") < 1 << 24
    assert Peer("10.244.2.0/24", "192.0.2.3").tunnel_address == "10.244.2.0"
