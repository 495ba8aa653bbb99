import asyncio
from typing import Any

import pytest

from knarr.apiserver.admission import service_account
from tests.apiserver.admission.plugins import open_bench, pod


async def test_default_account_with_token_and_pull_secrets() -> None:
    async with open_bench(service_account.build) as bench:
        await bench.add("serviceaccounts", "default", "ns", imagePullSecrets=[{"name": "pull"}])
        made = pod("p", {"name": "a"}, {"name": "b"}, initContainers=[{"name": "i"}])
        assert await bench.create("pods", made) == ""
        spec = made["spec"]
        assert spec["serviceAccountName"] == spec["serviceAccount"] == "default"
        assert spec["imagePullSecrets"] == [{"name": "pull"}]
        (volume,) = spec["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        assert len(volume["name"]) == len("kube-api-access-") + 5
        sources = volume["projected"]["sources"]
        assert [next(iter(source)) for source in sources] == ["serviceAccountToken", "configMap", "downwardAPI"]
        mount = {"name": volume["name"], "readOnly": True, "mountPath": service_account.MOUNT_PATH}
        for container in [*spec["containers"], *spec["initContainers"]]:
            assert container["volumeMounts"] == [mount]


AUTOMOUNT = [
    ({}, {}, True),
    ({"automountServiceAccountToken": False}, {}, False),
    ({"automountServiceAccountToken": False}, {"automountServiceAccountToken": True}, True),
    ({}, {"automountServiceAccountToken": False}, False),
]


@pytest.mark.parametrize(("account", "spec", "expected"), AUTOMOUNT)
async def test_automount(account: dict[str, Any], spec: dict[str, Any], expected: bool) -> None:
    async with open_bench(service_account.build) as bench:
        await bench.add("serviceaccounts", "default", "ns", **account)
        made = pod(**spec)
        assert await bench.create("pods", made) == ""
        assert bool(made["spec"].get("volumes")) is expected


async def test_own_mount_and_own_volume_are_respected() -> None:
    async with open_bench(service_account.build) as bench:
        await bench.add("serviceaccounts", "default", "ns")
        mounted = {"name": "a", "volumeMounts": [{"name": "x", "mountPath": service_account.MOUNT_PATH}]}
        made = pod("p", mounted)
        assert await bench.create("pods", made) == ""
        assert "volumes" not in made["spec"]
        again = pod("p", {"name": "a"}, volumes=[service_account.token_volume("kube-api-access-again")])
        assert await bench.create("pods", again) == ""
        assert len(again["spec"]["volumes"]) == 1
        assert again["spec"]["containers"][0]["volumeMounts"][0]["name"] == "kube-api-access-again"


async def test_missing_account() -> None:
    async with open_bench(service_account.build) as bench:
        assert await bench.create("pods", pod(serviceAccountName="nobody")) == (
            'pods "p" is forbidden: error looking up service account ns/nobody: serviceaccount "nobody" not found'
        )


async def test_default_account_is_waited_for() -> None:
    async with open_bench(service_account.build) as bench:
        asked = asyncio.create_task(bench.create("pods", pod()))
        await bench.clock.advance(0.2)
        await bench.add("serviceaccounts", "default", "ns")
        await bench.clock.advance(0.2)
        assert await asked == ""
        await bench.registry.delete("serviceaccounts", "ns", "default")
        asked = asyncio.create_task(bench.create("pods", pod()))
        await bench.clock.advance(5)
        assert 'serviceaccount "default" not found' in await asked


MIRROR = {service_account.MIRROR: "x"}
MIRRORS = [
    ({}, ""),
    ({"serviceAccountName": "default"}, "a mirror pod may not reference service accounts"),
    ({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}, "a mirror pod may not reference secrets"),
    (
        {"volumes": [service_account.token_volume("v")]},
        "a mirror pod may not use ServiceAccountToken volume projections",
    ),
]


@pytest.mark.parametrize(("spec", "refusal"), MIRRORS)
async def test_mirror_pods(spec: dict[str, Any], refusal: str) -> None:
    async with open_bench(service_account.build) as bench:
        made = pod(annotations=MIRROR, **spec)
        found = await bench.create("pods", made)
        assert found == (f'pods "p" is forbidden: {refusal}' if refusal else "")
        if not spec:
            assert "serviceAccountName" not in made["spec"]


async def test_mountable_secrets() -> None:
    async with open_bench(service_account.build) as bench:
        annotations = {service_account.ENFORCE_MOUNTABLE: "true"}
        await bench.add(
            "serviceaccounts", "default", "ns", metadata={"annotations": annotations}, secrets=[{"name": "ok"}]
        )
        good = pod(volumes=[{"name": "v", "secret": {"secretName": "ok"}}])
        assert await bench.create("pods", good) == ""
        bad = pod(volumes=[{"name": "v", "secret": {"secretName": "no"}}])
        assert await bench.create("pods", bad) == (
            'pods "p" is forbidden: volume with secret.secretName="no" is not allowed because service account default does '
            "not reference that secret"
        )
