"""Subresources with a behaviour of their own, and resources that are not stored."""

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from knarr.api.user import ALL_AUTHENTICATED, User
from tests.apiserver.conftest import Api, decoded
from tests.apiserver.test_verbs import DEPLOYMENTS, MERGE, PODS, TABLE, deployment, pod

Object = dict[str, Any]

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


RUNNING = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}


def csr() -> str:
    """Make a certificate signing request, as the API carries it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


async def test_scale_shows_and_changes_replicas(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment("web"))
    scale = await api.ok("GET", f"{DEPLOYMENTS}/web/scale")
    assert (scale["kind"], scale["spec"], scale["status"]) == (
        "Scale",
        {"replicas": 1},
        {"replicas": 0, "selector": "app=web"},
    )
    scale["spec"]["replicas"] = 3
    assert (await api.ok("PUT", f"{DEPLOYMENTS}/web/scale", scale))["spec"] == {"replicas": 3}
    await api.fails(409, "PUT", f"{DEPLOYMENTS}/web/scale", scale)
    await api.ok("PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    found = await api.ok("GET", f"{DEPLOYMENTS}/web")
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 3)
    status = await api.fails(422, "PATCH", f"{DEPLOYMENTS}/web/scale", {"spec": {"replicas": -1}}, content_type=MERGE)
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in status["message"]


async def test_scale_as_a_table(api: Api) -> None:
    await api.ok("POST", DEPLOYMENTS, deployment("web"))
    table = await api.ok("GET", f"{DEPLOYMENTS}/web/scale", accept=TABLE)
    assert table["rows"][0]["cells"][:3] == ["web", 1, 0]


async def test_a_pod_is_bound_once(api: Api) -> None:
    await api.ok("POST", PODS, pod("p"))
    binding = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}}
    response = await api.call("POST", f"{PODS}/p/binding", binding)
    assert (response.status, decoded(response)["status"]) == (201, "Success")
    found = await api.ok("GET", f"{PODS}/p")
    assert found["spec"]["nodeName"] == "n1"
    assert found["status"]["conditions"][0]["type"] == "PodScheduled"
    status = await api.fails(409, "POST", f"{PODS}/p/binding", binding)
    assert (
        status["message"] == 'Operation cannot be fulfilled on pods/binding "p": pod p is already assigned to node "n1"'
    )
    status = await api.fails(422, "POST", f"{PODS}/p/binding", {"metadata": {"name": "p"}, "target": {"kind": "Pod"}})
    assert "target.name: Required value" in status["message"]


async def test_eviction_heeds_the_budget(api: Api) -> None:
    await api.ok("POST", PODS, pod("p", nodeName="n"))
    await api.ok("PATCH", f"{PODS}/p/status", {"status": RUNNING}, content_type=MERGE)
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "p"}}}}
    await api.ok("POST", BUDGETS, budget)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    response = await api.call("POST", f"{PODS}/p/eviction", eviction)
    assert (response.status, response.headers.get("retry-after")) == (429, "10")
    assert decoded(response)["details"]["causes"][0]["reason"] == "DisruptionBudget"
    allowed = {
        "status": {
            "observedGeneration": 1,
            "disruptionsAllowed": 1,
            "currentHealthy": 2,
            "desiredHealthy": 1,
            "expectedPods": 2,
        }
    }
    await api.ok("PATCH", f"{BUDGETS}/b/status", allowed, content_type=MERGE)
    await api.ok("POST", f"{PODS}/p/eviction", eviction)
    assert (await api.ok("GET", f"{PODS}/p"))["metadata"]["deletionTimestamp"]
    status = (await api.ok("GET", f"{BUDGETS}/b"))["status"]
    assert (status["disruptionsAllowed"], list(status["disruptedPods"])) == (0, ["p"])


async def test_a_namespace_goes_when_it_is_finalized(api: Api) -> None:
    await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": "x"}})
    made = await api.ok("GET", "/api/v1/namespaces/x")
    assert (made["spec"], made["status"]) == ({"finalizers": ["kubernetes"]}, {"phase": "Active"})
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
    ending = await api.ok("DELETE", "/api/v1/namespaces/x")
    assert ending["status"]["phase"] == "Terminating"
    await api.ok("PUT", "/api/v1/namespaces/x/finalize", {**ending, "spec": {}})
    await api.fails(404, "GET", "/api/v1/namespaces/x")


async def test_ephemeral_containers_come_in_through_their_door_alone(api: Api) -> None:
    made = await api.ok("POST", PODS, pod("p"))
    made["spec"]["ephemeralContainers"] = [{"name": "debug", "image": "busybox"}]
    made["spec"]["containers"][0]["image"] = "other"
    changed = await api.ok("PUT", f"{PODS}/p/ephemeralcontainers", made)
    assert changed["spec"]["ephemeralContainers"][0]["name"] == "debug"
    assert changed["spec"]["containers"][0]["image"] == "i"


async def test_a_service_account_gets_a_token(api: Api) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts/default/token"
    answer = await api.ok("POST", path, {"spec": {"expirationSeconds": 3600}})
    assert answer["kind"] == "TokenRequest"
    token = answer["status"]["token"]
    anonymous = api.as_user(None)  # type: ignore[arg-type]
    me = await anonymous.ok(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {}, authorization=f"Bearer {token}"
    )
    assert me["status"]["userInfo"]["username"] == "system:serviceaccount:default:default"
    await api.fails(404, "POST", path.replace("/default/token", "/none/token"), {})


async def test_access_reviews(api: Api) -> None:
    ask = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    response = await api.call("POST", path, ask)
    assert (response.status, decoded(response)["status"]["allowed"]) == (201, True)
    nobody = api.as_user(User("nobody", (ALL_AUTHENTICATED,)))
    assert (await nobody.ok("POST", path, ask))["status"]["allowed"] is False
    await nobody.fails(403, "GET", PODS)


async def test_csr_approval_leaves_the_rest_alone(api: Api) -> None:
    requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {"request": csr(), "signerName": "example.com/x", "usages": ["client auth"]}
    made = await api.ok("POST", requests, {"metadata": {"name": "r"}, "spec": spec})
    assert (made["spec"]["username"], made["spec"]["groups"]) == ("admin", ["system:masters", "system:authenticated"])
    condition = {"type": "Approved", "status": "True", "reason": "r", "message": "m"}
    made["status"] = {"conditions": [condition], "certificate": "eA=="}
    approved = await api.ok("PUT", f"{requests}/r/approval", made)
    assert "certificate" not in approved["status"]
    assert approved["status"]["conditions"][0]["lastUpdateTime"] == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]"),
        ("?container=x", "container x is not valid for pod p"),
    ],
)
async def test_logs_need_to_know_the_container(api: Api, query: str, message: str) -> None:
    containers = [{"name": name, "image": "x"} for name in "ab"]
    body = {
        "metadata": {"name": "p"},
        "spec": {"containers": containers, "initContainers": [{"name": "i", "image": "x"}]},
    }
    await api.ok("POST", PODS, body)
    assert (await api.fails(400, "GET", f"{PODS}/p/log{query}"))["message"] == message
    response = await api.call("GET", f"{PODS}/p/log?container=a")
    assert (response.status, response.body) == (200, b"")  # it is on no node yet
    assert (await api.fails(400, "POST", f"{PODS}/p/exec?container=a&command=ls"))["message"] == (
        "pod p does not have a host assigned"
    )


async def test_verbs_that_a_subresource_does_not_have(api: Api) -> None:
    await api.fails(405, "DELETE", f"{PODS}/p/status")
    await api.fails(404, "GET", f"{PODS}/p/nonsense")
    await api.fails(405, "POST", f"{PODS}/p")
    await api.fails(405, "PUT", PODS)
    await api.fails(405, "GET", "/apis/authorization.k8s.io/v1/subjectaccessreviews")


APPLY = "application/apply-patch+yaml"


def owners(obj: Object) -> Object:
    return {
        f"{entry['manager']} {entry['operation']} {entry.get('subresource', '')}".strip(): entry["fieldsV1"]["f:spec"]
        for entry in obj["metadata"]["managedFields"]
        if "f:replicas" in entry["fieldsV1"].get("f:spec", {})
    }


async def test_a_scale_is_applied_against_the_owners_of_the_replicas(api: Api) -> None:
    body = {**deployment("web"), "apiVersion": "apps/v1", "kind": "Deployment"}
    body["spec"]["replicas"] = 2
    await api.ok("PATCH", f"{DEPLOYMENTS}/web?fieldManager=one", body, content_type=APPLY)
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "web"}, "spec": {"replicas": 5}}
    two = f"{DEPLOYMENTS}/web/scale?fieldManager=two"
    status = await api.fails(409, "PATCH", two, scale, content_type=APPLY)
    assert status["message"] == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    assert (await api.ok("PATCH", f"{two}&force=true", scale, content_type=APPLY))["spec"] == {"replicas": 5}
    found = await api.ok("GET", f"{DEPLOYMENTS}/web")
    assert owners(found) == {"two Apply scale": {"f:replicas": {}}}
    assert (found["spec"]["replicas"], found["metadata"]["generation"]) == (5, 2)
    same = {**scale, "metadata": {"name": "web"}}
    await api.ok("PATCH", f"{DEPLOYMENTS}/web/scale?fieldManager=three", same, content_type=APPLY)
    found = await api.ok("GET", f"{DEPLOYMENTS}/web")
    assert set(owners(found)) == {"three Apply scale", "two Apply scale"}
    await api.ok("PUT", f"{DEPLOYMENTS}/web/scale?fieldManager=hpa", {**scale, "spec": {"replicas": 7}})
    found = await api.ok("GET", f"{DEPLOYMENTS}/web")
    assert owners(found) == {"hpa Update scale": {"f:replicas": {}}}
    status = await api.fails(409, "PATCH", two, scale, content_type=APPLY)
    words = 'conflict with "hpa" with subresource "scale" using autoscaling/v1: .spec.replicas'
    assert status["message"] == f"Apply failed with 1 conflict: {words}"
    await api.fails(400, "PATCH", two, {**scale, "metadata": {"name": "other"}}, content_type=APPLY)
    stale = {**scale, "metadata": {"name": "web", "resourceVersion": "1"}, "spec": {"replicas": 7}}
    await api.fails(409, "PATCH", two, stale, content_type=APPLY)
