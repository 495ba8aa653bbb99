from knarr.api import errors
from knarr.apiserver.admission import namespace_lifecycle
from knarr.apiserver.admission.chain import CREATE
from tests.apiserver.admission.plugins import Bench, open_bench, pod


async def fill(bench: Bench) -> None:
    await bench.add("namespaces", "ns", status={"phase": "Active"})
    await bench.add("namespaces", "going", status={"phase": "Terminating"})


def inside(namespace: str) -> dict[str, object]:
    made = pod()
    made["metadata"]["namespace"] = namespace
    return made


async def test_missing_and_terminating_namespaces() -> None:
    async with open_bench(namespace_lifecycle.build) as bench:
        await fill(bench)
        assert await bench.create("pods", inside("ns")) == ""
        assert await bench.create("pods", inside("none")) == 'namespaces "none" not found'
        assert await bench.update("pods", inside("none"), inside("none")) == 'namespaces "none" not found'
        assert await bench.create("pods", inside("going")) == (
            'pods "p" is forbidden: unable to create new content in namespace going because it is being terminated'
        )
        assert await bench.update("pods", inside("going"), inside("going")) == ""
        assert await bench.delete("pods", inside("going")) == ""
        assert await bench.create("nodes", {"metadata": {"name": "n"}}) == ""
        assert await bench.create("localsubjectaccessreviews.authorization.k8s.io", inside("none")) == ""


async def test_refusal_names_its_cause() -> None:
    async with open_bench(namespace_lifecycle.build) as bench:
        await fill(bench)
        try:
            await bench.chain.admit(bench.request(CREATE, "pods", inside("going")))
        except errors.Forbidden as error:
            causes = error.details["causes"]
        assert causes == [
            {
                "reason": "NamespaceTerminating",
                "message": "namespace going is being terminated",
                "field": "metadata.namespace",
            }
        ]


async def test_immortal_namespaces() -> None:
    async with open_bench(namespace_lifecycle.build) as bench:
        for name in ("default", "kube-system", "kube-public"):
            refusal = f'namespaces "{name}" is forbidden: this namespace may not be deleted'
            assert await bench.delete("namespaces", {"metadata": {"name": name}}) == refusal
        assert await bench.delete("namespaces", {"metadata": {"name": "other"}}) == ""


async def test_changes_are_followed() -> None:
    async with open_bench(namespace_lifecycle.build) as bench:
        namespace = await bench.add("namespaces", "new", status={"phase": "Active"})
        assert await bench.create("pods", inside("new")) == ""
        await bench.registry.update("namespaces", {**namespace, "status": {"phase": "Terminating"}})
        assert "being terminated" in await bench.create("pods", inside("new"))
        await bench.registry.delete("namespaces", "", "new")
        assert "not found" in await bench.create("pods", inside("new"))
