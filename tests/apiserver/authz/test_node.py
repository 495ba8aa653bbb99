"""The Node authorizer: what a node may reach through its pods, and what is its own."""

from typing import Any

import pytest

from knarr.apiserver.authz.node import Node
from knarr.apiserver.registry import Registry
from knarr.kit.clock import FakeClock
from tests.apiserver.access import add, ask, node_user, open_registry, user

N1 = node_user("n1")
OWN_PODS = "spec.nodeName=n1"


async def fill(registry: Registry) -> dict[str, Any]:
    spec = {
        "nodeName": "n1",
        "serviceAccountName": "sa",
        "imagePullSecrets": [{"name": "pull"}],
        "containers": [
            {
                "name": "c",
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}],
                "envFrom": [{"configMapRef": {"name": "from"}}],
            }
        ],
        "volumes": [
            {"name": "a", "secret": {"secretName": "mounted"}},
            {"name": "b", "projected": {"sources": [{"configMap": {"name": "projected"}}]}},
            {"name": "c", "persistentVolumeClaim": {"claimName": "claim"}},
            {"name": "d", "ephemeral": {"volumeClaimTemplate": {}}},
        ],
    }
    pod = await add(registry, "pods", "p1", "ns", spec=spec)
    await add(registry, "pods", "p2", "ns", spec={"nodeName": "n2", "serviceAccountName": "other", "containers": []})
    mirror = {"annotations": {"kubernetes.io/config.mirror": "x"}}
    secret = {"nodeName": "n1", "volumes": [{"name": "a", "secret": {"secretName": "stolen"}}]}
    await add(registry, "pods", "mirror", "ns", metadata=mirror, spec=secret)
    await add(registry, "persistentvolumeclaims", "claim", "ns", spec={"volumeName": "pv"})
    csi = {"driver": "d", "nodeStageSecretRef": {"name": "stage", "namespace": "storage"}}
    await add(registry, "persistentvolumes", "pv", spec={"claimRef": {"namespace": "ns", "name": "claim"}, "csi": csi})
    await add(registry, "persistentvolumes", "free", spec={"csi": {"driver": "d"}})
    await add(registry, "volumeattachments.storage.k8s.io", "va", spec={"nodeName": "n1"})
    return pod


CASES = [
    ("get secrets ns/pull", "", True),
    ("get secrets ns/env", "", True),
    ("watch secrets ns/mounted", "", True),
    ("get secrets storage/stage", "", True),
    ("get secrets ns/stolen", "", False),
    ("get secrets other/pull", "", False),
    ("list secrets ns/", "", False),
    ("update secrets ns/pull", "", False),
    ("get configmaps ns/from", "", True),
    ("get configmaps ns/projected", "", True),
    ("get persistentvolumeclaims ns/claim", "", True),
    ("patch persistentvolumeclaims/status ns/claim", "", True),
    ("patch persistentvolumeclaims ns/claim", "", False),
    ("get persistentvolumeclaims ns/p1-d", "", True),
    ("get persistentvolumes pv", "", True),
    ("get persistentvolumes free", "", False),
    ("get volumeattachments.storage.k8s.io va", "", True),
    ("create serviceaccounts/token ns/sa", "", True),
    ("create serviceaccounts/token ns/other", "", False),
    ("get serviceaccounts ns/sa", "", True),
    ("update leases.coordination.k8s.io kube-node-lease/n1", "", True),
    ("update leases.coordination.k8s.io kube-node-lease/n2", "", False),
    ("create leases.coordination.k8s.io kube-node-lease/", "", True),
    ("get leases.coordination.k8s.io kube-system/n1", "", False),
    ("update csinodes.storage.k8s.io n1", "", True),
    ("update csinodes.storage.k8s.io n2", "", False),
    ("create nodes", "", True),
    ("get nodes n1", "", True),
    ("get nodes n2", "", False),
    ("list nodes", "", False),
    ("patch nodes/status n1", "", True),
    ("patch nodes/status n2", "", False),
    ("delete nodes n1", "", False),
    ("get pods ns/p1", "", True),
    ("get pods ns/p2", "", False),
    ("list pods", OWN_PODS, True),
    ("watch pods", f"spec.nodeName!=x,{OWN_PODS}", True),
    ("watch pods", "spec.nodeName!=n1", False),
    ("list pods", "spec.nodeName=n2", False),
    ("list pods", "", False),
    ("delete pods ns/p1", "", True),
    ("patch pods/status ns/p1", "", True),
    ("create events ns/", "", True),
    ("list services", "", True),
    ("list runtimeclasses.node.k8s.io", "", True),
    ("list deployments.apps", "", False),
]


async def test_decisions() -> None:
    async with open_registry(FakeClock()) as registry:
        node = Node(registry)
        await fill(registry)
        found = {
            (asked, selector): node.authorize(N1, ask(asked, selector=selector)).allowed for asked, selector, _ in CASES
        }
        assert found == {(asked, selector): expected for asked, selector, expected in CASES}


async def test_access_ends_with_the_pod_and_starts_from_what_is_stored() -> None:
    async with open_registry(FakeClock()) as registry:
        await fill(registry)
        node = Node(registry)
        assert node.authorize(N1, ask("get secrets ns/env")).allowed
        await registry.delete("pods", "ns", "p1")
        decision = node.authorize(N1, ask("get secrets ns/env"))
        assert not decision.allowed
        assert decision.reason == "no relationship found between node 'n1' and this object"


@pytest.mark.parametrize("who", [user("system:node:n1"), user("ann", "system:nodes"), user("ann")])
async def test_no_opinion_about_others(who: Any) -> None:
    async with open_registry(FakeClock()) as registry:
        node = Node(registry)
        await fill(registry)
        assert not node.authorize(who, ask("get secrets ns/env")).allowed
        assert not node.authorize(who, ask("list services")).allowed
