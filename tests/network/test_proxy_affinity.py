from knarr.network.proxy.affinity import format_clients, parse_clients
from tests.network.test_proxy_rules import TABLE

LISTING = """{"nftables": [{"metainfo": {"version": "1.0.6"}},
 {"set": {"family": "ip", "name": "affinity/a", "table": "t", "flags": ["timeout"], "timeout": 100,
  "elem": [{"elem": {"val": "10.244.0.5", "expires": 49}}, {"elem": {"val": "10.244.0.6", "timeout": 9, "expires": 7}}]}},
 {"set": {"family": "ip", "name": "affinity/b", "table": "t", "flags": ["timeout"], "timeout": 100}},
 {"set": {"family": "ip", "name": "hairpin-connections", "table": "t", "elem": [{"concat": ["1.2.3.4", "1.2.3.4"]}]}}]}"""


def test_clients_are_read_and_written_back() -> None:
    clients = parse_clients(LISTING)
    assert clients == {"affinity/a": {"10.244.0.5": 49, "10.244.0.6": 7}}
    expected = "add element ip knarr-t affinity/a { 10.244.0.5 expires 49s, 10.244.0.6 expires 7s }\n"
    assert format_clients(clients, TABLE) == expected
