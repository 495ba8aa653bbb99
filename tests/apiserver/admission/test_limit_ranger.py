from typing import Any

import pytest

from knarr.apiserver.admission import limit_ranger
from tests.apiserver.admission.plugins import open_bench, pod

Object = dict[str, Any]


def container(requests: Object | None = None, limits: Object | None = None, name: str = "c") -> Object:
    resources = {key: value for key, value in (("requests", requests), ("limits", limits)) if value}
    return {"name": name, "resources": resources}


async def test_defaults_and_their_note() -> None:
    async with open_bench(limit_ranger.build) as bench:
        limit = {"type": "Container", "default": {"cpu": "1", "memory": "1Gi"}, "defaultRequest": {"cpu": "100m"}}
        await bench.add("limitranges", "l", "ns", spec={"limits": [limit]})
        made = pod("p", container(), container({"cpu": "2"}, {"cpu": "3"}, "d"))
        assert await bench.create("pods", made) == ""
        first, second = (one["resources"] for one in made["spec"]["containers"])
        assert first == {"requests": {"cpu": "100m"}, "limits": {"cpu": "1", "memory": "1Gi"}}
        assert second == {"requests": {"cpu": "2"}, "limits": {"cpu": "3", "memory": "1Gi"}}
        assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: cpu request for container c; cpu, memory limit for container c; "
            "memory limit for container d"
        )


CASES: list[tuple[Object, Object, str]] = [
    ({"type": "Container", "min": {"cpu": "100m"}}, container({"cpu": "100m"}), ""),
    (
        {"type": "Container", "min": {"cpu": "100m"}},
        container({"cpu": "50m"}),
        "minimum cpu usage per Container is 100m, but request is 50m",
    ),
    (
        {"type": "Container", "min": {"cpu": "100m"}},
        container(),
        "minimum cpu usage per Container is 100m.  No request is specified",
    ),
    (
        {"type": "Container", "max": {"memory": "1Gi"}},
        container({"memory": "1Gi"}, {"memory": "2Gi"}),
        "maximum memory usage per Container is 1Gi, but limit is 2Gi",
    ),
    (
        {"type": "Container", "max": {"memory": "1Gi"}},
        container(),
        "maximum memory usage per Container is 1Gi.  No limit is specified",
    ),
    (
        {"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}},
        container({"cpu": "100m"}, {"cpu": "300m"}),
        "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
    ),
    ({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}, container({"cpu": "1"}, {"cpu": "2"}), ""),
    (
        {"type": "Pod", "max": {"cpu": "1"}},
        container({"cpu": "2"}, {"cpu": "2"}),
        "maximum cpu usage per Pod is 1, but limit is 2",
    ),
    (
        {"type": "Container", "min": {"cpu": "1"}, "max": {"memory": "1Gi"}},
        container({"cpu": "500m"}, {"memory": "2Gi"}),
        "[minimum cpu usage per Container is 1, but request is 500m, maximum memory usage per Container is 1Gi, but limit is "
        "2Gi]",
    ),
]


@pytest.mark.parametrize(("limit", "given", "refusal"), CASES)
async def test_pod_limits(limit: Object, given: Object, refusal: str) -> None:
    async with open_bench(limit_ranger.build) as bench:
        await bench.add("limitranges", "l", "ns", spec={"limits": [limit]})
        found = await bench.create("pods", pod("p", given))
        assert found == (f'pods "p" is forbidden: {refusal}' if refusal else "")


async def test_claims_and_updates() -> None:
    async with open_bench(limit_ranger.build) as bench:
        limit = {"type": "PersistentVolumeClaim", "max": {"storage": "1Gi"}, "min": {"storage": "1Mi"}}
        await bench.add("limitranges", "l", "ns", spec={"limits": [limit, CASES[1][0]]})
        claim = {"metadata": {"name": "c"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        assert await bench.create("persistentvolumeclaims", claim) == (
            'persistentvolumeclaims "c" is forbidden: maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi'
        )
        small = pod("p", CASES[1][1])
        assert await bench.update("pods", small, small) == ""
        assert "minimum cpu" in await bench.update("pods/resize", small, small)
