"""`knarr controllers` and `knarr deschedule` against an API server over HTTPS."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lightkube.models import apps_v1, coordination_v1, core_v1, meta_v1, policy_v1

from knarr.cli import controllers as command
from knarr.cli import deschedule as deschedule_command
from knarr.client import Client, PatchType, kubeconfig
from knarr.cluster.errors import UsageError
from knarr.control import context as contexts
from knarr.controllers import roster
from knarr.controllers.deschedule import Thresholds
from knarr.controllers.deschedule_view import Limits
from tests.controllers.remote import open_remote

LABELS = {"app": "x"}


def deployment() -> apps_v1.Deployment:
    template = core_v1.PodTemplateSpec(
        metadata=meta_v1.ObjectMeta(labels=LABELS),
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", image="x")]),
    )
    spec = apps_v1.DeploymentSpec(replicas=2, selector=meta_v1.LabelSelector(matchLabels=LABELS), template=template)
    return apps_v1.Deployment(metadata=meta_v1.ObjectMeta(name="x", namespace="default"), spec=spec)


async def wait(condition: Any, seconds: float = 20.0) -> Any:
    async with asyncio.timeout(seconds):
        while not (found := await condition()):
            await asyncio.sleep(0.05)
        return found


async def test_controllers_alone_lead_and_work(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as (client, path):
        stopping = asyncio.Event()
        told = contexts.Options(root_ca=kubeconfig.authority(path))
        task = asyncio.ensure_future(command.serve(path, command.choose("*,-cronjob-controller"), told, stopping))
        try:
            await client.create(deployment())

            async def pods() -> bool:
                return len((await client.list(core_v1.Pod, namespace="default")).items) == 2

            await wait(pods)
            published = await client.get(core_v1.ConfigMap, "kube-root-ca.crt", namespace="default")
            assert (published.data or {})["ca.crt"] == (tmp_path / "ca.crt").read_text()
            lease = await client.get(coordination_v1.Lease, "kube-controller-manager", namespace="kube-system")
            assert lease.spec and lease.spec.holderIdentity
        finally:
            stopping.set()
            await task
        lease = await client.get(coordination_v1.Lease, "kube-controller-manager", namespace="kube-system")
        assert lease.spec and not lease.spec.holderIdentity


@pytest.mark.parametrize(
    ("text", "has", "lacks"),
    [
        ("*", "job-controller", "descheduler"),
        ("*,descheduler", "descheduler", ""),
        ("*,-job-controller", "cronjob-controller", "job-controller"),
        ("job-controller", "job-controller", "cronjob-controller"),
        ("-job-controller", "cronjob-controller", "job-controller"),
    ],
)
def test_controllers_are_chosen_by_name(text: str, has: str, lacks: str) -> None:
    names = [one.name for one in command.choose(text)]
    assert has in names
    assert lacks not in names


def test_each_controller_has_a_name_of_its_own() -> None:
    names = [one.name for one in roster.ROSTER]
    assert len(names) == len(set(names))
    with pytest.raises(UsageError, match='"nonsense" is not in the list of known controllers'):
        command.choose("*,nonsense")


async def node(client: Client, name: str) -> None:
    await client.create(core_v1.Node(metadata=meta_v1.ObjectMeta(name=name, labels={"kubernetes.io/hostname": name})))
    room = {"cpu": "4", "memory": "8Gi", "pods": "10"}
    ready = {"type": "Ready", "status": "True"}
    body = {"status": {"capacity": room, "allocatable": room, "conditions": [ready]}}
    await client.patch(core_v1.Node, name, body, PatchType.MERGE, subresource="status")
    await client.patch(core_v1.Node, name, {"spec": {"taints": None}}, PatchType.MERGE)


async def test_descheduling_respects_budgets_and_a_dry_run_only_tells(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as (client, path):
        await client.create(core_v1.ServiceAccount(metadata=meta_v1.ObjectMeta(name="default", namespace="default")))
        for name in ("n1", "n2"):
            await node(client, name)
        owner = meta_v1.OwnerReference("apps/v1", "ReplicaSet", "x", "uid", controller=True)
        for number in range(4):
            meta = meta_v1.ObjectMeta(name=f"x-{number}", namespace="default", labels=LABELS, ownerReferences=[owner])
            spec = core_v1.PodSpec(containers=[core_v1.Container(name="c", image="x")], nodeName="n1")
            await client.create(core_v1.Pod(metadata=meta, spec=spec))
            conditions = [{"type": "Ready", "status": "True"}]
            status = {"status": {"phase": "Running", "conditions": conditions}}
            await client.patch(
                core_v1.Pod, f"x-{number}", status, PatchType.MERGE, namespace="default", subresource="status"
            )
        budget = policy_v1.PodDisruptionBudget(
            metadata=meta_v1.ObjectMeta(name="x", namespace="default"),
            spec=policy_v1.PodDisruptionBudgetSpec(minAvailable=3, selector=meta_v1.LabelSelector(matchLabels=LABELS)),
        )
        await client.create(budget)
        allowed = {
            "disruptionsAllowed": 1,
            "currentHealthy": 4,
            "desiredHealthy": 3,
            "expectedPods": 4,
            "observedGeneration": 1,
        }
        await client.patch(
            policy_v1.PodDisruptionBudget,
            "x",
            {"status": allowed},
            PatchType.MERGE,
            namespace="default",
            subresource="status",
        )

        async def run(*, dry_run: bool) -> list[dict[str, Any]]:
            return await deschedule_command.work(path, Limits(), Thresholds(), ["duplicates"], dry_run=dry_run)

        told = await run(dry_run=True)
        assert [(one["node"], one["fits"], one["strategy"]) for one in told] == [("n1", "n2", "duplicates")] * 2
        assert len((await client.list(core_v1.Pod)).items) == 4
        done = await run(dry_run=False)
        assert sorted("refused" in one for one in done) == [False, True]
        refused = next(one["refused"] for one in done if "refused" in one)
        assert refused == "Cannot evict pod as it would violate the pod's disruption budget."
        going = [
            pod for pod in (await client.list(core_v1.Pod)).items if pod.metadata and pod.metadata.deletionTimestamp
        ]
        assert len(going) == 1
        assert deschedule_command.format_lines([]) == ["every pod is where it should be"]
