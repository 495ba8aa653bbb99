"""The small plugins that fill in: priority, tolerations, taints, classes, finalizers, runtime classes."""

from typing import Any

import pytest

from knarr.apiserver.admission import (
    default_ingress_class,
    default_storage_class,
    default_toleration_seconds,
    persistent_volume_claim_resize,
    priority,
    runtime_class,
    storage_object_in_use_protection,
    taint_nodes_by_condition,
)
from tests.apiserver.admission.plugins import open_bench, pod

CLASSES = priority.RESOURCE
PRIORITIES: list[tuple[dict[str, Any], str, dict[str, Any]]] = [
    ({}, "", {"priority": 0, "preemptionPolicy": "PreemptLowerPriority"}),
    (
        {"priorityClassName": "high"},
        "",
        {"priorityClassName": "high", "priority": 1000, "preemptionPolicy": "Never"},
    ),
    (
        {"priorityClassName": "system-node-critical"},
        "",
        {
            "priorityClassName": "system-node-critical",
            "priority": 2000001000,
            "preemptionPolicy": "PreemptLowerPriority",
        },
    ),
    ({"priorityClassName": "none"}, 'pods "p" is forbidden: no PriorityClass with name none was found', {}),
    (
        {"priorityClassName": "high", "priority": 5},
        'pods "p" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission '
        "controller computed 1000 from the given PriorityClass name",
        {},
    ),
    (
        {"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"},
        'pods "p" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod '
        "spec; priority admission controller computed Never from the given PriorityClass name",
        {},
    ),
]


@pytest.mark.parametrize(("spec", "refusal", "expected"), PRIORITIES)
async def test_priority(spec: dict[str, Any], refusal: str, expected: dict[str, Any]) -> None:
    async with open_bench(priority.build) as bench:
        await bench.add(CLASSES, "system-node-critical", value=2000001000)
        await bench.add(CLASSES, "high", value=1000, preemptionPolicy="Never")
        made = pod(**spec)
        assert await bench.create("pods", made) == refusal
        if not refusal:
            assert {key: value for key, value in made["spec"].items() if key != "containers"} == expected


async def test_default_priority_class_is_the_lowest_and_the_only_one() -> None:
    async with open_bench(priority.build) as bench:
        await bench.add(CLASSES, "b", value=20, globalDefault=True)
        await bench.add(CLASSES, "a", value=10, globalDefault=True)
        made = pod()
        assert await bench.create("pods", made) == ""
        assert (made["spec"]["priorityClassName"], made["spec"]["priority"]) == ("a", 10)
        refusal = await bench.create(CLASSES, {"metadata": {"name": "c"}, "value": 1, "globalDefault": True})
        assert refusal.endswith("PriorityClass a is already marked as default. Only one default can exist")


async def test_update_keeps_priority() -> None:
    async with open_bench(priority.build) as bench:
        made = pod()
        assert await bench.update("pods", made, pod(priority=7, preemptionPolicy="Never")) == ""
        assert (made["spec"]["priority"], made["spec"]["preemptionPolicy"]) == (7, "Never")


NOT_READY, UNREACHABLE = default_toleration_seconds.TAINTS
TOLERATIONS: list[tuple[list[dict[str, Any]], list[str]]] = [
    ([], [NOT_READY, UNREACHABLE]),
    ([{"key": NOT_READY, "operator": "Exists", "effect": "NoExecute"}], [UNREACHABLE]),
    ([{"key": NOT_READY, "operator": "Exists", "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
    ([{"operator": "Exists"}], []),
    ([{"key": "x", "operator": "Exists"}], [NOT_READY, UNREACHABLE]),
]


@pytest.mark.parametrize(("given", "added"), TOLERATIONS)
async def test_default_tolerations(given: list[dict[str, Any]], added: list[str]) -> None:
    async with open_bench(default_toleration_seconds.build) as bench:
        made = pod(tolerations=given)
        assert await bench.create("pods", made) == ""
        found = made["spec"]["tolerations"][len(given) :]
        assert [one["key"] for one in found] == added
        assert all(one["tolerationSeconds"] == 300 and one["effect"] == "NoExecute" for one in found)


async def test_new_node_is_tainted_once() -> None:
    async with open_bench(taint_nodes_by_condition.build) as bench:
        node: dict[str, Any] = {"metadata": {"name": "n"}, "spec": {"taints": [{"key": "x", "effect": "NoSchedule"}]}}
        for _ in range(2):
            assert await bench.create("nodes", node) == ""
        assert [taint["key"] for taint in node["spec"]["taints"]] == ["x", "node.kubernetes.io/not-ready"]


def storage_class(name: str, created: str, *, default: bool = True) -> dict[str, Any]:
    annotations = {default_storage_class.ANNOTATIONS[0]: "true" if default else "false"}
    return {"metadata": {"creationTimestamp": created, "annotations": annotations}}


async def test_newest_default_storage_class() -> None:
    async with open_bench(default_storage_class.build) as bench:
        claim: dict[str, Any] = {"metadata": {"name": "c", "namespace": "ns"}, "spec": {}}
        assert await bench.create("persistentvolumeclaims", claim) == ""
        assert "storageClassName" not in claim["spec"]
        for name, created, default in (("old", "2025", True), ("new", "2026", True), ("newer", "2027", False)):
            await bench.add(default_storage_class.RESOURCE, name, **storage_class(name, created, default=default))
        assert await bench.create("persistentvolumeclaims", claim) == ""
        assert claim["spec"]["storageClassName"] == "new"
        none: dict[str, Any] = {"metadata": {"name": "c", "namespace": "ns"}, "spec": {"storageClassName": ""}}
        assert await bench.create("persistentvolumeclaims", none) == ""
        assert none["spec"]["storageClassName"] == ""


async def test_default_ingress_class() -> None:
    async with open_bench(default_ingress_class.build) as bench:
        annotations = {default_ingress_class.ANNOTATION: "true"}
        await bench.add(default_ingress_class.RESOURCE, "nginx", metadata={"annotations": annotations})
        ingress: dict[str, Any] = {"metadata": {"name": "i", "namespace": "ns"}}
        assert await bench.create("ingresses.networking.k8s.io", ingress) == ""
        assert ingress["spec"]["ingressClassName"] == "nginx"
        old: dict[str, Any] = {"metadata": {"name": "i", "annotations": {default_ingress_class.OLD_CLASS: "x"}}}
        assert await bench.create("ingresses.networking.k8s.io", old) == ""
        assert "ingressClassName" not in old["spec"]


async def test_storage_protection_finalizer() -> None:
    async with open_bench(storage_object_in_use_protection.build) as bench:
        claim: dict[str, Any] = {"metadata": {"name": "c", "namespace": "ns"}}
        for _ in range(2):
            assert await bench.create("persistentvolumeclaims", claim) == ""
        assert claim["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]


def claim_of(size: str, class_name: str = "grows", phase: str = "Bound") -> dict[str, Any]:
    spec = {"storageClassName": class_name, "resources": {"requests": {"storage": size}}}
    return {"metadata": {"name": "c", "namespace": "ns"}, "spec": spec, "status": {"phase": phase}}


RESIZES = [
    ("2Gi", "grows", "Bound", ""),
    ("1024Mi", "fixed", "Bound", ""),
    (
        "2Gi",
        "fixed",
        "Bound",
        "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc",
    ),
    ("2Gi", "none", "Bound", "only dynamically provisioned pvc can be resized"),
    ("2Gi", "grows", "Pending", "Only bound persistent volume claims can be expanded"),
]


@pytest.mark.parametrize(("size", "class_name", "phase", "refusal"), RESIZES)
async def test_claim_resize(size: str, class_name: str, phase: str, refusal: str) -> None:
    async with open_bench(persistent_volume_claim_resize.build) as bench:
        await bench.add(persistent_volume_claim_resize.RESOURCE, "grows", allowVolumeExpansion=True)
        await bench.add(persistent_volume_claim_resize.RESOURCE, "fixed")
        new, old = claim_of(size, class_name, phase), claim_of("1Gi", class_name, phase)
        found = await bench.update("persistentvolumeclaims", new, old)
        assert (refusal in found) if refusal else not found


async def test_runtime_class() -> None:
    async with open_bench(runtime_class.build) as bench:
        toleration = {"key": "vm", "operator": "Exists"}
        scheduling = {"nodeSelector": {"vm": "yes"}, "tolerations": [toleration]}
        overhead = {"podFixed": {"cpu": "250m"}}
        await bench.add(runtime_class.RESOURCE, "vm", handler="vm", overhead=overhead, scheduling=scheduling)
        made = pod(runtimeClassName="vm")
        assert await bench.create("pods", made) == ""
        assert made["spec"]["overhead"] == {"cpu": "250m"}
        assert made["spec"]["nodeSelector"] == {"vm": "yes"}
        assert made["spec"]["tolerations"] == [toleration]
        missing = await bench.create("pods", pod(runtimeClassName="x"))
        assert missing == 'pods "p" is forbidden: pod rejected: RuntimeClass "x" not found'
        conflict = await bench.create("pods", pod(runtimeClassName="vm", nodeSelector={"vm": "no"}))
        assert "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no" in conflict
        unfounded = await bench.create("pods", pod(overhead={"cpu": "1"}))
        assert "Pod Overhead set without corresponding RuntimeClass defined Overhead" in unfounded
