"""Namespaces, ownership and nodes against the real API server in this process."""

from typing import Any

import msgspec
from lightkube.models import apps_v1, coordination_v1, core_v1, meta_v1

from knarr.client import DeleteOptions, PatchType
from tests.controllers.lab import Lab, open_lab
from tests.controllers.test_deployment import deployment, is_rolled_out


async def test_a_namespace_gets_its_account_and_certificate_and_is_emptied_before_it_goes() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(core_v1.Namespace(metadata=meta_v1.ObjectMeta(name="team")))

        async def furnished() -> bool:
            await lab.client.get(core_v1.ServiceAccount, "default", namespace="team")
            found = await lab.client.get(core_v1.ConfigMap, "kube-root-ca.crt", namespace="team")
            return found.data == {"ca.crt": "CERTIFICATE"}

        await lab.until(furnished)
        await lab.client.delete(core_v1.ConfigMap, "kube-root-ca.crt", namespace="team")
        await lab.until(furnished)
        held = meta_v1.ObjectMeta(name="held", namespace="team", finalizers=["example.com/hold"])
        await lab.client.create(core_v1.ConfigMap(metadata=held))
        await lab.client.delete(core_v1.Namespace, "team")

        async def told() -> bool:
            namespace = await lab.client.get(core_v1.Namespace, "team")
            conditions = {one.type: one for one in (namespace.status.conditions or ())} if namespace.status else {}
            remaining = conditions.get("NamespaceFinalizersRemaining")
            return remaining is not None and (remaining.status, remaining.message) == (
                "True",
                "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances",
            )

        await lab.until(told)
        await lab.client.patch(
            core_v1.ConfigMap, "held", {"metadata": {"finalizers": None}}, PatchType.MERGE, namespace="team"
        )

        async def gone() -> bool:
            names = [one.metadata.name for one in (await lab.client.list(core_v1.Namespace)).items if one.metadata]
            return "team" not in names

        await lab.until(gone, seconds=60)
        assert not (await lab.client.list(core_v1.ServiceAccount, namespace="team")).items


async def counts(lab: Lab) -> tuple[int, int, int]:
    kinds = (apps_v1.Deployment, apps_v1.ReplicaSet, core_v1.Pod)
    found = [len((await lab.client.list(kind)).items) for kind in kinds]
    return found[0], found[1], found[2]


async def test_orphaned_dependents_stay_and_lose_their_owner() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        await lab.client.delete(
            apps_v1.Deployment, "web", namespace="default", options=DeleteOptions(propagation="Orphan")
        )

        async def orphaned() -> bool:
            return (await counts(lab))[0] == 0

        await lab.until(orphaned, seconds=60)
        await lab.settle(3)
        assert await counts(lab) == (0, 1, 2)
        [replica_set] = (await lab.client.list(apps_v1.ReplicaSet)).items
        assert replica_set.metadata
        assert not replica_set.metadata.ownerReferences


async def test_in_the_foreground_dependents_go_first() -> None:
    async with open_lab("n1") as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        options = DeleteOptions(propagation="Foreground")
        await lab.client.delete(apps_v1.Deployment, "web", namespace="default", options=options)
        seen = []

        async def gone() -> bool:
            seen.append(await counts(lab))
            return seen[-1] == (0, 0, 0)

        await lab.until(gone, seconds=60)
        assert not any(deployments == 0 and replica_sets for deployments, replica_sets, _ in seen)


async def test_an_owner_that_never_was_is_no_owner() -> None:
    async with open_lab("n1") as lab:
        ghost = meta_v1.OwnerReference(apiVersion="v1", kind="ConfigMap", name="ghost", uid="nobody")
        unknown = meta_v1.OwnerReference(apiVersion="example.com/v1", kind="Widget", name="w", uid="somebody")
        for name, reference in (("a", ghost), ("b", unknown)):
            meta = meta_v1.ObjectMeta(name=name, namespace="default", ownerReferences=[reference])
            await lab.client.create(core_v1.ConfigMap(metadata=meta))

        async def names() -> set[str]:
            page = await lab.client.list(core_v1.ConfigMap, namespace="default")
            return {one.metadata.name or "" for one in page.items if one.metadata}

        async def gone() -> bool:
            return "a" not in await names()

        await lab.until(gone, seconds=60)
        await lab.settle(5)
        assert "b" in await names()  # its owner's kind is not known: nothing may be concluded


async def test_a_silent_node_is_tainted_and_its_pods_go_elsewhere() -> None:
    async with open_lab("n1", "n2") as lab:
        made = deployment(2)
        assert made.spec and made.spec.template and made.spec.template.spec
        made.spec.template.spec.tolerations = [
            core_v1.Toleration(
                key=f"node.kubernetes.io/{name}", operator="Exists", effect="NoExecute", tolerationSeconds=15
            )
            for name in ("unreachable", "not-ready")
        ]
        await lab.client.create(made)
        await lab.until(lambda: is_rolled_out(lab))
        lab.nodes.beating.discard("n2")

        async def unknown() -> bool:
            node = await lab.client.get(core_v1.Node, "n2")
            assert node.status and node.spec
            ready = next(one for one in node.status.conditions or () if one.type == "Ready")
            taints = {(taint.key, taint.effect) for taint in node.spec.taints or ()}
            return ready.status == "Unknown" and taints == {
                ("node.kubernetes.io/unreachable", "NoSchedule"),
                ("node.kubernetes.io/unreachable", "NoExecute"),
            }

        await lab.until(unknown, seconds=90)
        assert "Node n2 status is now: NodeNotReady" in await lab.events("NodeNotReady")

        async def moved() -> bool:
            places = [pod.spec.nodeName for pod in await lab.pods() if pod.spec]
            return places == ["n1", "n1"]

        await lab.until(moved, seconds=60)
        # It comes back:
        lab.nodes.beating.add("n2")
        ready = core_v1.NodeCondition(type="Ready", status="True", lastHeartbeatTime=lab.clock.now())
        await lab.client.patch(
            core_v1.Node, "n2", {"status": {"conditions": [ready]}}, PatchType.STRATEGIC, subresource="status"
        )

        async def clean() -> bool:
            node = await lab.client.get(core_v1.Node, "n2")
            return node.spec is not None and not node.spec.taints

        await lab.until(clean)


async def test_nodes_get_ranges_of_their_own() -> None:
    async with open_lab("n1", "n2") as lab:

        async def ranges() -> set[str]:
            nodes = (await lab.client.list(core_v1.Node)).items
            found = {node.spec.podCIDR for node in nodes if node.spec and node.spec.podCIDR}
            return found if len(found) == 2 else set()

        assert await lab.until(ranges) == {"10.244.0.0/24", "10.244.1.0/24"}


async def test_pods_of_a_node_that_is_gone_are_removed() -> None:
    async with open_lab("n1", "n2") as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        lab.nodes.beating.discard("n2")
        await lab.client.delete(core_v1.Node, "n2")
        await lab.client.delete(coordination_v1.Lease, "n2", namespace="kube-node-lease")

        async def moved() -> bool:
            pods = (await lab.client.list(core_v1.Pod, namespace="default")).items
            return [pod.spec.nodeName for pod in pods if pod.spec] == ["n1", "n1"]

        await lab.until(moved, seconds=120)


async def test_pods_of_a_node_that_is_out_of_service_are_removed_by_force() -> None:
    async with open_lab("n1", "n2") as lab:
        await lab.client.create(deployment(2))
        await lab.until(lambda: is_rolled_out(lab))
        lab.nodes.beating.discard("n2")

        async def unreachable() -> bool:
            node = await lab.client.get(core_v1.Node, "n2")
            return node.spec is not None and any(taint.effect == "NoExecute" for taint in node.spec.taints or ())

        await lab.until(unreachable, seconds=90)
        lost = next(pod for pod in await lab.pods() if pod.spec and pod.spec.nodeName == "n2")
        assert lost.metadata
        await lab.client.delete(core_v1.Pod, lost.metadata.name or "", namespace="default")
        await lab.settle(45)
        held = await lab.client.get(core_v1.Pod, lost.metadata.name or "", namespace="default")
        assert held.metadata and held.metadata.uid == lost.metadata.uid  # nobody there says that it has ended
        node = await lab.client.get(core_v1.Node, "n2")
        assert node.spec
        taint = core_v1.Taint(key="node.kubernetes.io/out-of-service", value="nodeshutdown", effect="NoExecute")
        body = {"spec": {"taints": [*(node.spec.taints or ()), taint]}}
        await lab.client.patch(core_v1.Node, "n2", body, PatchType.MERGE)

        async def removed() -> bool:
            pods = (await lab.client.list(core_v1.Pod, namespace="default")).items
            return all(pod.metadata and pod.metadata.uid != lost.metadata.uid for pod in pods if lost.metadata)

        await lab.until(removed, seconds=45)


async def test_what_a_custom_resource_owns_goes_with_it() -> None:
    async with open_lab() as lab:
        schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        names = {"plural": "ships", "singular": "ship", "kind": "Ship"}
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "ships.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
        }  # fmt: skip
        post = lab.client.caller.send
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        await post("POST", path, body=msgspec.json.encode(definition))
        ships = "/apis/example.com/v1/namespaces/default/ships"
        ship = {"apiVersion": "example.com/v1", "kind": "Ship", "metadata": {"name": "knarr"}}

        async def made() -> Any:
            return msgspec.json.decode((await post("POST", ships, body=msgspec.json.encode(ship))).body)

        owner = (await lab.until(made))["metadata"]
        reference = meta_v1.OwnerReference("example.com/v1", "Ship", owner["name"], owner["uid"])
        cargo = meta_v1.ObjectMeta(name="cargo", namespace="default", ownerReferences=[reference])
        await lab.client.create(core_v1.ConfigMap(metadata=cargo))
        crew = {**ship, "metadata": {"name": "boat", "ownerReferences": [msgspec.to_builtins(reference)]}}
        await post("POST", ships, body=msgspec.json.encode(crew))
        await lab.settle(35)
        await lab.client.get(core_v1.ConfigMap, "cargo", namespace="default")
        await post("DELETE", f"{ships}/knarr")

        async def alone() -> bool:
            maps = (await lab.client.list(core_v1.ConfigMap, namespace="default")).items
            left = msgspec.json.decode((await lab.client.raw("GET", ships)).body)["items"]
            return not left and "cargo" not in {one.metadata.name for one in maps if one.metadata}

        await lab.until(alone, seconds=60)
