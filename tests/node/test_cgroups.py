import pytest

from knarr.node.cgroups import Cgroups, shares_to_weight


@pytest.mark.parametrize(
    ("root", "systemd", "qos", "expected"),
    [
        ("/knarr-a", False, "Burstable", "/knarr-a/kubepods/burstable/pod1-2"),
        ("/", False, "Guaranteed", "/kubepods/pod1-2"),
        (
            "/knarr-a",
            True,
            "BestEffort",
            "/knarr_a.slice/knarr_a-kubepods.slice/knarr_a-kubepods-besteffort.slice/knarr_a-kubepods-besteffort-pod1_2.slice",
        ),
    ],
)
def test_pod_parent(root: str, systemd: bool, qos: str, expected: str) -> None:
    assert Cgroups(root, systemd, unified=True).pod_parent("1-2", qos) == expected


@pytest.mark.parametrize(("shares", "weight"), [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (1 << 20, 10_000)])
def test_shares_to_weight(shares: int, weight: int) -> None:
    assert shares_to_weight(shares) == weight
