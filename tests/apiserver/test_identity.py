from datetime import UTC, datetime
from typing import Any

import pytest

from knarr.apiserver import identity
from tests.apiserver.conftest import open_api

LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_the_name_is_a_digest_of_the_host() -> None:
    # What kube-apiserver calls itself on a host of that name: sha256, 16 bytes, base32.
    assert identity.name_of("localhost") == "apiserver-jgla3zmib2ggq5buc4hwi5talm"
    assert len(identity.name_of("other")) == len("apiserver-") + 26


async def test_a_server_renews_its_lease_and_makes_it_again() -> None:
    async with open_api(hostname="h1") as api:
        path = f"{LEASES}/{identity.name_of('h1')}"
        await api.clock.advance(1)
        lease = await api.ok("GET", path)
        assert lease["metadata"]["labels"] == {
            "apiserver.kubernetes.io/identity": "kube-apiserver",
            "kubernetes.io/hostname": "h1",
        }
        assert lease["spec"]["leaseDurationSeconds"] == 3600
        assert lease["spec"]["holderIdentity"].startswith(f"{identity.name_of('h1')}_")
        await api.clock.advance(identity.RENEW_S)
        renewed = await api.ok("GET", path)
        assert renewed["spec"]["renewTime"] > lease["spec"]["renewTime"]
        assert renewed["spec"]["holderIdentity"] == lease["spec"]["holderIdentity"]
        await api.ok("DELETE", path)
        await api.clock.advance(identity.RENEW_S)
        assert (await api.ok("GET", path))["metadata"]["uid"] != lease["metadata"]["uid"]


async def test_leases_of_servers_long_gone_are_deleted() -> None:
    async with open_api(hostname="h1") as api:
        labels = {"apiserver.kubernetes.io/identity": "kube-apiserver"}
        spec = {"holderIdentity": "x", "leaseDurationSeconds": 60, "renewTime": "2026-01-01T00:00:00.000000Z"}
        await api.ok("POST", LEASES, {"metadata": {"name": "gone", "labels": labels}, "spec": spec})
        await api.ok("POST", LEASES, {"metadata": {"name": "other"}, "spec": spec})
        await api.clock.advance(identity.SWEEP_S + 1)
        await api.fails(404, "GET", f"{LEASES}/gone")
        await api.ok("GET", f"{LEASES}/other")
        await api.ok("GET", f"{LEASES}/{identity.name_of('h1')}")


@pytest.mark.parametrize(
    ("spec", "over"),
    [
        ({"renewTime": "2026-01-01T11:00:00.000000Z", "leaseDurationSeconds": 3600}, False),
        ({"renewTime": "2026-01-01T10:59:59.000000Z", "leaseDurationSeconds": 3600}, True),
        ({"leaseDurationSeconds": 3600}, True),
        ({}, True),
    ],
)
def test_a_lease_is_over_when_its_time_has_passed(spec: dict[str, Any], over: bool) -> None:
    assert identity.is_over({"spec": spec}, NOW) is over
