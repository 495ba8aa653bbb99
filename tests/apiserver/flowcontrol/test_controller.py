"""Priority and fairness through the API server: its objects, who belongs where, and what happens when it is full."""

import asyncio
from typing import Any

import pytest

from knarr.api.user import ALL_AUTHENTICATED, User
from knarr.apiserver.flowcontrol import matching, objects, retry
from knarr.apiserver.requestinfo import parse
from knarr.kit.http.messages import Response
from tests.apiserver.conftest import Api, open_api

Object = dict[str, Any]

BASE = "/apis/flowcontrol.apiserver.k8s.io/v1"
NOBODY = User("system:anonymous", ("system:unauthenticated",))
JANE = User("jane", (ALL_AUTHENTICATED,))
NODE = User("system:node:n1", ("system:nodes", ALL_AUTHENTICATED))
JOBS = User("system:serviceaccount:kube-system:job-controller", ("system:serviceaccounts", ALL_AUTHENTICATED))
APP = User("system:serviceaccount:kube-system2:app", ("system:serviceaccounts", ALL_AUTHENTICATED))
LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1"


@pytest.mark.parametrize(
    ("user", "method", "path", "schema"),
    [
        (User("root", ("system:masters",)), "DELETE", "/api/v1/pods", "exempt"),
        (NOBODY, "GET", "/healthz", "probes"),
        (JANE, "GET", "/readyz/ping", "probes"),
        (NOBODY, "GET", "/version", "global-default"),
        (JOBS, "PUT", LEASE, "system-leader-election"),
        (JOBS, "DELETE", LEASE, "kube-system-service-accounts"),
        (NODE, "PUT", LEASE, "system-node-high"),
        (NODE, "PATCH", "/api/v1/nodes/n1/status", "system-node-high"),
        (NODE, "GET", "/api/v1/namespaces/d/pods/p", "system-nodes"),
        (User("system:kube-scheduler", ()), "GET", "/api/v1/pods", "kube-scheduler"),
        (APP, "GET", "/api/v1/namespaces/d/pods", "service-accounts"),
        (JANE, "GET", "/api/v1/namespaces/d/pods", "global-default"),
        (User("ghost", ()), "GET", "/api/v1/pods", None),
    ],
)
def test_where_requests_belong(user: User, method: str, path: str, schema: str | None) -> None:
    schemas = matching.in_order([*objects.MANDATORY_SCHEMAS, *objects.SUGGESTED_SCHEMAS])
    found = matching.find(schemas, user, parse(method, path))
    assert (found and found["metadata"]["name"]) == schema


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def test_the_objects_are_there_and_responses_name_them(api: Api) -> None:
    await settle()
    schemas = {one["metadata"]["name"]: one for one in (await api.ok("GET", f"{BASE}/flowschemas"))["items"]}
    levels = {
        one["metadata"]["name"]: one for one in (await api.ok("GET", f"{BASE}/prioritylevelconfigurations"))["items"]
    }
    assert len(schemas) == 11
    assert len(levels) == 8
    assert schemas["probes"]["metadata"]["annotations"] == {objects.AUTO_UPDATE: "true"}
    condition = schemas["probes"]["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Dangling", "False", "Found")
    response = await api.as_user(JANE).call("GET", "/version")
    assert response.headers.get("x-kubernetes-pf-flowschema-uid") == schemas["global-default"]["metadata"]["uid"]
    assert response.headers.get("x-kubernetes-pf-prioritylevel-uid") == levels["global-default"]["metadata"]["uid"]


def level(name: str, response: Object, shares: int = 10) -> Object:
    limited = {
        "nominalConcurrencyShares": shares,
        "lendablePercent": 0,
        "borrowingLimitPercent": 0,
        "limitResponse": response,
    }
    return {"metadata": {"name": name}, "spec": {"type": "Limited", "limited": limited}}


def schema(name: str, level_name: str) -> Object:
    rule = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    subject = {"kind": "User", "user": {"name": "jane"}}
    rules = [{"subjects": [subject], "resourceRules": [rule]}]
    spec = {"priorityLevelConfiguration": {"name": level_name}, "matchingPrecedence": 50, "rules": rules}
    return {"metadata": {"name": name}, "spec": spec}


async def test_a_schema_of_a_missing_level_dangles_and_matches_nothing(api: Api) -> None:
    made = await api.ok("POST", f"{BASE}/flowschemas", schema("mine", "lost"))
    await settle()
    condition = (await api.ok("GET", f"{BASE}/flowschemas/mine"))["status"]["conditions"][0]
    assert condition["status"] == "True"
    assert condition["message"] == (
        'This FlowSchema references the PriorityLevelConfiguration object named "lost" but there is no such object'
    )
    jane = api.as_user(JANE)
    response = await jane.call("GET", "/api/v1/pods")
    assert response.headers.get("x-kubernetes-pf-flowschema-uid") != made["metadata"]["uid"]
    await api.ok("POST", f"{BASE}/prioritylevelconfigurations", level("lost", {"type": "Reject"}))
    await settle()
    assert (await api.ok("GET", f"{BASE}/flowschemas/mine"))["status"]["conditions"][0]["status"] == "False"
    response = await jane.call("GET", "/api/v1/pods")
    assert response.headers.get("x-kubernetes-pf-flowschema-uid") == made["metadata"]["uid"]


async def test_a_full_level_rejects_with_advice_and_others_go_on() -> None:
    async with open_api(max_requests=10, max_mutating_requests=0) as api:
        await api.ok("POST", f"{BASE}/prioritylevelconfigurations", level("tiny", {"type": "Reject"}, 1))
        await api.ok("POST", f"{BASE}/flowschemas", schema("mine", "tiny"))
        flow = api.server.parts.flow
        info = parse("GET", "/api/v1/namespaces/default/pods/x")
        held = flow.classify(JANE, info)
        ticket = await flow.enter(held, info, {}, 60)
        assert ticket is not None
        response = await api.as_user(JANE).call("GET", "/api/v1/namespaces/default/pods")
        assert (response.status, response.body) == (429, b"Too many requests, please try again later.\n")
        assert response.headers.get("retry-after") == "1"
        assert response.headers.get("x-kubernetes-pf-flowschema-uid")
        await api.ok("GET", "/api/v1/namespaces/default/pods")
        text = (await api.call("GET", "/metrics")).body
        assert isinstance(text, bytes)
        labels = b'{flow_schema="mine",priority_level="tiny",reason="concurrency-limit"}'
        labels_too = b'{priority_level="tiny",flow_schema="mine",reason="concurrency-limit"}'
        name = b"apiserver_flowcontrol_rejected_requests_total"
        assert name + labels + b" 1.0" in text or name + labels_too + b" 1.0" in text
        flow.leave(held, ticket)
        assert (await api.as_user(JANE).call("GET", "/api/v1/namespaces/default/pods")).status == 403


async def test_who_waits_is_served_when_a_seat_is_free_or_told_to_come_back() -> None:
    queuing = {"type": "Queue", "queuing": {"queues": 4, "handSize": 2, "queueLengthLimit": 5}}
    async with open_api(max_requests=10, max_mutating_requests=0) as api:
        await api.ok("POST", f"{BASE}/prioritylevelconfigurations", level("tiny", queuing, 1))
        await api.ok("POST", f"{BASE}/flowschemas", schema("mine", "tiny"))
        flow, jane = api.server.parts.flow, api.as_user(JANE)
        info = parse("GET", "/api/v1/namespaces/default/pods/x")
        held = flow.classify(JANE, info)
        ticket = await flow.enter(held, info, {}, 60)
        assert ticket is not None
        waiting: asyncio.Task[Response] = asyncio.create_task(jane.call("GET", "/api/v1/namespaces/default/pods"))
        gone: asyncio.Task[Response] = asyncio.create_task(jane.call("GET", "/api/v1/namespaces/default/pods"))
        late = await jane.call("GET", "/api/v1/namespaces/default/pods?timeout=20ms")
        assert late.status == 429
        gone.cancel()
        await settle()
        assert not waiting.done()
        flow.leave(held, ticket)
        assert (await waiting).status == 403
        assert held.level.queues.is_idle


async def test_mandatory_objects_come_back_and_suggested_ones_can_be_taken_over(api: Api) -> None:
    await api.ok("DELETE", f"{BASE}/flowschemas/catch-all")
    assert (await api.as_user(JANE).call("GET", "/version")).status == 200
    system = await api.ok("GET", f"{BASE}/prioritylevelconfigurations/system")
    system["spec"]["limited"]["nominalConcurrencyShares"] = 7
    system["metadata"]["annotations"][objects.AUTO_UPDATE] = "false"
    await api.ok("PUT", f"{BASE}/prioritylevelconfigurations/system", system)
    high = await api.ok("GET", f"{BASE}/prioritylevelconfigurations/node-high")
    high["spec"]["limited"]["nominalConcurrencyShares"] = 7
    await api.ok("PUT", f"{BASE}/prioritylevelconfigurations/node-high", high)
    await api.clock.advance(61)
    await settle()
    await api.ok("GET", f"{BASE}/flowschemas/catch-all")
    for name, shares in (("system", 7), ("node-high", 40)):
        found = await api.ok("GET", f"{BASE}/prioritylevelconfigurations/{name}")
        assert found["spec"]["limited"]["nominalConcurrencyShares"] == shares


def test_advice_doubles_under_pressure_and_falls_again() -> None:
    advice = retry.RetryAfter()
    seen = []
    for second in range(100, 130):
        for _ in range(50):
            advice.note(second)
        seen.append(advice.seconds)
    assert max(seen) >= 16
    for second in range(200, 400, 20):
        advice.note(second)
    assert advice.seconds < max(seen)


async def test_big_lists_take_more_seats() -> None:
    async with open_api() as api:
        for index in range(250):
            await api.server.parts.registry.create(
                "configmaps",
                {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": f"c{index}", "namespace": "default"}},
            )
        flow = api.server.parts.flow
        info = parse("GET", "/api/v1/configmaps")
        ticket = await flow.enter(flow.classify(JANE, info), info, {}, 60)
        assert ticket is not None
        assert ticket.seats == 3
