"""`knarr why` against a control plane in this process, and once over HTTPS."""

import json
from pathlib import Path

import pytest
from lightkube.models import apps_v1, core_v1, meta_v1

from knarr.cli import why as command
from knarr.client import PatchType
from knarr.scheduler import why
from tests.controllers.lab import Lab, open_lab
from tests.scheduler import objects
from tests.scheduler.remote import open_remote
from tests.scheduler.test_scheduler import pod


async def ask(lab: Lab, target: str) -> list[str]:
    kind, _, name = target.partition("/")
    return [*(await why.explain(lab.client, kind, "default", name)).lines()]


async def test_pods_deployments_and_services_tell_the_same_story() -> None:
    async with open_lab("n1") as lab:
        labels = {"app": "web"}
        container = core_v1.Container(
            name="c", image="web", resources=core_v1.ResourceRequirements(requests={"cpu": "20"})
        )
        template = core_v1.PodTemplateSpec(
            metadata=meta_v1.ObjectMeta(labels=labels), spec=core_v1.PodSpec(containers=[container])
        )
        spec = apps_v1.DeploymentSpec(replicas=2, selector=meta_v1.LabelSelector(matchLabels=labels), template=template)
        made = apps_v1.Deployment(metadata=meta_v1.ObjectMeta(name="web", namespace="default"), spec=spec)
        await lab.client.create(made)
        ports = [core_v1.ServicePort(port=80, targetPort="http")]
        service = core_v1.Service(
            metadata=meta_v1.ObjectMeta(name="web", namespace="default"),
            spec=core_v1.ServiceSpec(selector=labels, ports=ports),
        )
        await lab.client.create(service)
        await lab.settle(3)
        told = await ask(lab, "deploy/web")
        assert told[0] == "deployment/web in default: 0 of 2 ready"
        assert "- 1/1 nodes: Insufficient cpu  [NodeResourcesFit]" in told
        assert "    if it had 20 cpu in all (it has 8)" in told
        told = await ask(lab, "svc/web")
        assert told[:2] == ["service/web in default: 0 of 2 pods ready", "- none of its 2 pods is ready  [pods]"]
        assert "- 2 pods have no TCP port named http  [spec.ports]" in told


async def test_a_service_whose_selector_nearly_matches() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(pod("p", labels={"app": "web", "tier": "back"}))
        service = core_v1.Service(
            metadata=meta_v1.ObjectMeta(name="s", namespace="default"),
            spec=core_v1.ServiceSpec(selector={"app": "web", "tier": "front"}, ports=[core_v1.ServicePort(port=80)]),
        )
        await lab.client.create(service)
        told = await ask(lab, "service/s")
        assert told[1:] == [
            "- no pod matches its selector app=web,tier=front  [spec.selector]",
            "- 1 pods match all of it but tier=front  [spec.selector]",
            "    pod/p",
            "    if they had label tier=front, or the selector did not ask for it",
        ]


async def test_a_claim_that_nobody_fulfils() -> None:
    async with open_lab("n1") as lab:
        claim = core_v1.PersistentVolumeClaim(
            metadata=meta_v1.ObjectMeta(name="data", namespace="default"),
            spec=core_v1.PersistentVolumeClaimSpec(
                accessModes=["ReadWriteMany"],
                resources=core_v1.VolumeResourceRequirements(requests={"storage": "2Gi"}),
                storageClassName="",
            ),
        )
        await lab.client.create(claim)
        volume = core_v1.PersistentVolume(
            metadata=meta_v1.ObjectMeta(name="pv"),
            spec=core_v1.PersistentVolumeSpec(
                capacity={"storage": "1Gi"},
                accessModes=["ReadWriteOnce"],
                hostPath=core_v1.HostPathVolumeSource(path="/tmp/v"),
            ),
        )
        await lab.client.create(volume)
        told = await ask(lab, "pvc/data")
        assert told[1] == (
            "- pv/pv does not suit: it has 1Gi, the claim asks for 2Gi; it cannot be used as ReadWriteMany  [volumes]"
        )


async def test_a_pod_that_crashes() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(pod("p"))
        await lab.settle(2)
        status = {
            "conditions": [{"type": "Ready", "status": "False"}],
            "containerStatuses": [
                {
                    "name": "c", "image": "i", "imageID": "", "ready": False, "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 1m20s"}},
                    "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
                }
            ],
        }  # fmt: skip
        await lab.client.patch(
            core_v1.Pod, "p", {"status": status}, PatchType.MERGE, namespace="default", subresource="status"
        )
        told = await ask(lab, "po/p")
        assert told == [
            "pod/p in default: Running, not ready",
            "- container c waits: CrashLoopBackOff, back-off 1m20s; "
            "it ended with exit code 137 (OOMKilled), 4 restarts  [container c]",
            "    if it used less memory, or its limit were higher",
        ]


async def test_the_command_prints_json(tmp_path: Path) -> None:
    async with open_remote(tmp_path) as (client, path):
        await client.create(objects.node("n1", cpu="1"))
        await client.create(pod("p", cpu="2"))
        answer = await command.ask(path, "", "pod", "default", "p")
        told = json.loads(json.dumps(answer.to_json()))
        assert told["state"] == "Pending"
        assert told["findings"] == [
            {
                "problem": "1/1 nodes: Insufficient cpu",
                "source": "NodeResourcesFit",
                "remedies": ["it had 2 cpu in all (it has 1)"],
                "objects": ["n1"],
            }
        ]


@pytest.mark.parametrize("target", ["node/n1", "pod", "pod/", "/p", "pod/a/b"])
def test_what_cannot_be_explained_is_a_usage_error(target: str) -> None:
    from knarr.cli.main import run

    assert run(["why", target]) == 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "there is no such file"),
        ("kind: Config", "no context is the current one; name one of its contexts"),
        ("kind: Config\ncurrent-context: x", 'contexts has no "x"'),
        ("a: [", "not YAML"),
    ],
)
def test_without_a_cluster_it_says_what_is_wrong(
    text: str | None, told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from knarr.cli.main import run

    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    assert run(["why", "pod/p", "--kubeconfig", str(path)]) == 1
    out = capsys.readouterr().err
    assert out.startswith(f"knarr: kubeconfig {path}: {told}")
    assert "Traceback" not in out


async def test_a_service_without_a_selector_is_fine_once_somebody_has_written_its_endpoints() -> None:
    async with open_lab() as lab:
        meta = meta_v1.ObjectMeta(name="s", namespace="default")
        spec = core_v1.ServiceSpec(ports=[core_v1.ServicePort(port=80)])
        await lab.client.create(core_v1.Service(metadata=meta, spec=spec))
        told = await ask(lab, "service/s")
        assert told[1] == "- it has no selector, and nobody has written an endpoint that is ready  [spec.selector]"
        address = core_v1.EndpointAddress(ip="10.1.2.3")
        subset = core_v1.EndpointSubset(addresses=[address], ports=[core_v1.EndpointPort(port=80)])
        await lab.client.create(core_v1.Endpoints(metadata=meta, subsets=[subset]))
        await lab.settle(2)
        assert await ask(lab, "service/s") == ["service/s in default: ClusterIP, nothing is wrong"]
