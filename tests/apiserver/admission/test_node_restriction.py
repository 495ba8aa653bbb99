from typing import Any

from knarr.apiserver.admission import node_restriction
from knarr.apiserver.admission.chain import CREATE
from tests.apiserver.access import node_user, user
from tests.apiserver.admission.plugins import Bench, open_bench, pod

N1 = node_user("n1")
Object = dict[str, Any]


def mirror(**spec: Any) -> Object:
    made = pod(annotations={"kubernetes.io/config.mirror": "x"}, nodeName="n1", **spec)
    owner = {"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "n1-uid", "controller": True}
    made["metadata"]["ownerReferences"] = [owner]
    return made


def node(name: str = "n1", labels: Object | None = None, **spec: Any) -> Object:
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


async def refusal(bench: Bench, *request: Any, **rest: Any) -> str:
    found = await bench.run(bench.request(*request, who=N1, **rest))
    return found.partition("forbidden: ")[2] or found


async def test_mirror_pods() -> None:
    async with open_bench(node_restriction.build) as bench:
        await bench.add("nodes", "n1")
        assert await refusal(bench, CREATE, "pods", mirror()) == ""
        assert "can only create mirror pods" in await refusal(bench, CREATE, "pods", pod(nodeName="n1"))
        foreign = mirror()
        foreign["spec"]["nodeName"] = "n2"
        assert "spec.nodeName set to itself" in await refusal(bench, CREATE, "pods", foreign)
        unowned = mirror()
        unowned["metadata"]["ownerReferences"] = []
        assert "an owner reference set to itself" in await refusal(bench, CREATE, "pods", unowned)
        wrong = mirror()
        wrong["metadata"]["ownerReferences"][0]["uid"] = "x"
        assert await refusal(bench, CREATE, "pods", wrong) == "node n1 UID mismatch: expected x got n1-uid"
        greedy = mirror(volumes=[{"name": "v", "secret": {"secretName": "s"}}])
        assert await refusal(bench, CREATE, "pods", greedy) == 'node "n1" can not create pods that reference secrets'


async def test_pods_of_others() -> None:
    async with open_bench(node_restriction.build) as bench:
        own, foreign = pod(nodeName="n1"), pod(nodeName="n2")
        assert await bench.delete("pods", own, who=N1) == ""
        assert "can only delete pods" in await bench.delete("pods", foreign, who=N1)
        assert await bench.update("pods/status", own, own, who=N1) == ""
        assert "can only update pod status" in await bench.update("pods/status", foreign, foreign, who=N1)
        labelled = pod(nodeName="n1")
        labelled["metadata"]["labels"] = {"a": "b"}
        assert "cannot update labels" in await bench.update("pods/status", labelled, own, who=N1)
        assert "unexpected operation" in await bench.update("pods", own, own, who=N1)
        assert "unexpected pod subresource" in await bench.update("pods/resize", own, own, who=N1)
        assert await bench.update("pods", foreign, foreign, who=user("ann")) == ""


async def test_own_node_only_and_only_some_labels() -> None:
    async with open_bench(node_restriction.build) as bench:
        allowed = {"kubernetes.io/hostname": "n1", "node.kubernetes.io/x": "1", "example.com/y": "2"}
        assert await refusal(bench, CREATE, "nodes", node(labels=allowed)) == ""
        assert await refusal(bench, CREATE, "nodes", node("n2")) == 'node "n1" is not allowed to modify node "n2"'
        for label in ("node-restriction.kubernetes.io/x", "node-role.kubernetes.io/control-plane", "foo.k8s.io/x"):
            found = await refusal(bench, CREATE, "nodes", node(labels={label: ""}))
            assert found == f'node "n1" is not allowed to set the following labels: {label}'
        old = node(labels={"node-role.kubernetes.io/worker": ""})
        assert "is not allowed to modify labels" in await bench.update("nodes", node(), old, who=N1)
        tainted = node(taints=[{"key": "x", "effect": "NoSchedule"}])
        assert "is not allowed to modify taints" in await bench.update("nodes", node(), tainted, who=N1)
        owned = node()
        owned["metadata"] = {
            **owned["metadata"],
            "ownerReferences": [{"apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "u"}],
        }
        assert await bench.update("nodes", owned, node(), who=N1) == (
            'nodes "n1" is forbidden: node "n1" is not allowed to modify ownerReferences'
        )
        assert await bench.update("nodes/status", old, old, who=N1) == ""


def token(**reference: str) -> Object:
    return {"spec": {"audiences": [], "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", **reference}}}


async def test_tokens_for_own_pods() -> None:
    async with open_bench(node_restriction.build) as bench:
        projected = {
            "sources": [{"serviceAccountToken": {"path": "t"}}, {"serviceAccountToken": {"audience": "vault"}}]
        }
        await bench.add("pods", "p", "ns", spec={"nodeName": "n1", "volumes": [{"name": "v", "projected": projected}]})
        await bench.add("pods", "q", "ns", spec={"nodeName": "n2"})
        ask = ("serviceaccounts/token",)
        own = token(name="p", uid="p-uid")
        assert await refusal(bench, CREATE, *ask, own, name="sa") == ""
        own["spec"]["audiences"] = ["vault"]
        assert await refusal(bench, CREATE, *ask, own, name="sa") == ""
        own["spec"]["audiences"] = ["else"]
        assert "not found in pod spec volume" in await refusal(bench, CREATE, *ask, own, name="sa")
        assert "not bound to a pod" in await refusal(bench, CREATE, *ask, {"spec": {}}, name="sa")
        assert "without a uid" in await refusal(bench, CREATE, *ask, token(name="p"), name="sa")
        other = await refusal(bench, CREATE, *ask, token(name="q", uid="q-uid"), name="sa")
        assert other == "node requested token bound to a pod scheduled on a different node"


async def test_lease_and_csi_node() -> None:
    async with open_bench(node_restriction.build) as bench:
        lease = {"metadata": {"name": "n1", "namespace": "kube-node-lease"}}
        assert await refusal(bench, CREATE, "leases.coordination.k8s.io", lease) == ""
        lease["metadata"]["name"] = "n2"
        assert "same name" in await refusal(bench, CREATE, "leases.coordination.k8s.io", lease)
        assert "same name" in await refusal(bench, CREATE, "csinodes.storage.k8s.io", {"metadata": {"name": "n2"}})
