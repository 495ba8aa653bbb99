"""Which servers a node knows, now and at its next start."""

from pathlib import Path

import pytest
from lightkube.models import discovery_v1, meta_v1

from knarr.cluster import servers
from knarr.cluster.errors import UsageError
from knarr.kit.balancer import Target


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://192.0.2.1:6443", Target("192.0.2.1", 6443)),
        ("https://server.example/", Target("server.example", 6443)),
        ("https://[2001:db8::1]:7000", Target("2001:db8::1", 7000)),
    ],
)
def test_urls_of_servers(url: str, target: Target) -> None:
    assert servers.parse(url) == target
    assert servers.parse(servers.to_url(target)) == target


@pytest.mark.parametrize("url", ["http://192.0.2.1:6443", "192.0.2.1:6443", "https://", "https://a/b", "https://a:x"])
def test_what_is_no_server(url: str) -> None:
    with pytest.raises(UsageError):
        servers.parse(url)


def test_the_list_is_kept_between_the_preferred_server_and_the_last_resort(tmp_path: Path) -> None:
    first, last = "https://127.0.0.1:6443", "https://vip.example:6443"
    assert servers.load(tmp_path, last=last) == [Target("vip.example", 6443)]
    servers.save(tmp_path, [Target("192.0.2.1", 6443), Target("192.0.2.2", 6443)])
    hosts = [target.host for target in servers.load(tmp_path, last=last, first=first)]
    assert hosts == ["127.0.0.1", "192.0.2.1", "192.0.2.2", "vip.example"]
    (tmp_path / servers.FILE).write_text("[")
    assert servers.load(tmp_path, last=last) == [Target("vip.example", 6443)]


def test_servers_are_the_endpoints_of_the_service() -> None:
    slices = [
        discovery_v1.EndpointSlice(
            metadata=meta_v1.ObjectMeta(name="kubernetes", namespace="default"),
            addressType="IPv4",
            endpoints=[discovery_v1.Endpoint(addresses=["192.0.2.2"]), discovery_v1.Endpoint(addresses=["192.0.2.1"])],
            ports=[discovery_v1.EndpointPort(name="https", port=6443, protocol="TCP")],
        )
    ]
    assert servers.find_targets(slices) == [Target("192.0.2.1", 6443), Target("192.0.2.2", 6443)]
