import json

from lightkube.models import apps_v1, core_v1, meta_v1

from knarr.controllers import history
from tests.controllers.lab import open_lab
from tests.controllers.test_workloads import SELECTOR, meta, template


def test_the_keys_of_a_revision_are_sorted() -> None:
    spec = core_v1.PodSpec(containers=[core_v1.Container(name="c", image="i", args=["b", "a"])], restartPolicy="Always")
    data = history.data_of(core_v1.PodTemplateSpec(metadata=meta_v1.ObjectMeta(labels={"b": "1", "a": "2"}), spec=spec))
    assert json.dumps(data) == json.dumps(data, sort_keys=True)
    assert data["spec"]["template"]["spec"]["containers"][0]["args"] == ["b", "a"]
    assert data["spec"]["template"]["$patch"] == "replace"


async def test_a_stored_revision_is_the_patch_byte_by_byte() -> None:
    async with open_lab("n1") as lab:
        spec = apps_v1.DaemonSetSpec(selector=SELECTOR, template=template())
        await lab.client.create(apps_v1.DaemonSet(metadata=meta(), spec=spec))

        async def made() -> list[apps_v1.ControllerRevision]:
            return (await lab.client.list(apps_v1.ControllerRevision)).items

        (revision,) = await lab.until(made)
        live = await lab.client.get(apps_v1.DaemonSet, "x", namespace="default")
        assert live.spec is not None
        assert json.dumps(revision.data) == json.dumps(history.data_of(live.spec.template))
