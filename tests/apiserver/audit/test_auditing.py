"""The audit log of an API server: what its lines say."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from knarr.api.user import ALL_AUTHENTICATED, MASTERS, User
from knarr.apiserver.audit.settings import Settings
from knarr.kit.http import server as http_server
from knarr.kit.http.messages import Headers, Request, Response
from tests.apiserver.conftest import Api, open_api

Object = dict[str, Any]

JANE = User("jane", (ALL_AUTHENTICATED,), "u1", {"team": ("a", "b")})
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"


class Log:
    def __init__(self, api: Api, path: Path) -> None:
        self.api = api
        self._path = path
        self._seen = 0

    def new(self) -> list[Object]:
        lines = self._path.read_text().splitlines()
        found = [json.loads(line) for line in lines[self._seen :]]
        self._seen = len(lines)
        return found


@contextlib.asynccontextmanager
async def open_log(folder: Path, rules: str, more: str = "", **config: Any) -> AsyncIterator[Log]:
    policy = folder / "policy.yaml"
    policy.write_text(f"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{rules}]\n{more}")
    settings = Settings(policy=policy, log=folder / "audit.log", **config)
    async with open_api(audit=settings) as api:
        log = Log(api, folder / "audit.log")
        log.new()
        yield log


async def test_a_read_is_received_and_complete(tmp_path: Path) -> None:
    async with open_log(tmp_path, "{level: Metadata}") as log:
        response = await log.api.as_user(JANE).call(
            "GET", f"{PODS}/x?pretty=1", audit_id="mine", x_forwarded_for="10.1.2.3, junk"
        )
        assert response.headers.get("audit-id") == "mine"
        received, complete = log.new()
    assert received["stage"] == "RequestReceived"
    assert "responseStatus" not in received
    assert "annotations" not in received
    assert complete == {
        "kind": "Event",
        "apiVersion": "audit.k8s.io/v1",
        "level": "Metadata",
        "auditID": "mine",
        "stage": "ResponseComplete",
        "requestURI": f"{PODS}/x?pretty=1",
        "verb": "get",
        "user": {"username": "jane", "uid": "u1", "groups": [ALL_AUTHENTICATED], "extra": {"team": ["a", "b"]}},
        "sourceIPs": ["10.1.2.3", "::1"],
        "userAgent": "tests/1",
        "objectRef": {"resource": "pods", "namespace": "default", "name": "x", "apiVersion": "v1"},
        "responseStatus": {
            "metadata": {},
            "status": "Failure",
            "message": 'pods "x" is forbidden: User "jane" cannot get resource "pods" in API group "" in the namespace "default"',
            "reason": "Forbidden",
            "details": {"name": "x", "kind": "pods"},
            "code": 403,
        },
        "requestReceivedTimestamp": "2026-01-01T00:00:00.000000Z",
        "stageTimestamp": "2026-01-01T00:00:00.000000Z",
        "annotations": {"authorization.k8s.io/decision": "forbid", "authorization.k8s.io/reason": ""},
    }


@pytest.mark.parametrize("form", ["application/json", "application/yaml"])
async def test_objects_are_kept_where_the_policy_says_so(tmp_path: Path, form: str) -> None:
    rules = (
        "{level: None, verbs: [get]}, {level: RequestResponse, omitStages: [RequestReceived], omitManagedFields: true}"
    )
    async with open_log(tmp_path, rules) as log:
        await log.api.call("POST", CONFIG_MAPS, {"metadata": {"name": "a"}, "data": {"k": "v"}}, accept=form)
        await log.api.call("GET", f"{CONFIG_MAPS}/a")
        patch = b'{"data":{"k":"w"}}'
        await log.api.call("PATCH", f"{CONFIG_MAPS}/a", patch, content_type="application/merge-patch+json")
        await log.api.call("DELETE", f"{CONFIG_MAPS}/a", {"gracePeriodSeconds": 0})
        made, patched, deleted = log.new()
    assert made["requestObject"]["data"] == {"k": "v"}
    assert made["objectRef"]["name"] == "a"
    assert made["responseObject"]["metadata"]["name"] == "a"
    assert "managedFields" not in made["responseObject"]["metadata"]
    assert made["responseStatus"] == {"metadata": {}, "code": 201}
    assert patched["requestObject"] == {"data": {"k": "w"}}
    assert patched["responseObject"]["data"] == {"k": "w"}
    assert deleted["requestObject"] == {"gracePeriodSeconds": 0}
    assert deleted["responseStatus"]["status"] == "Success"


async def test_a_watch_is_started_and_complete(tmp_path: Path) -> None:
    async with open_log(tmp_path, "{level: Metadata, omitStages: [RequestReceived]}") as log:
        async with log.api.watch(CONFIG_MAPS):
            assert [one["stage"] for one in log.new()] == ["ResponseStarted"]
        await asyncio.sleep(0)
        found = [one["stage"] for one in log.new()]
    assert found == ["ResponseComplete"]


async def test_nobody_and_somebody_else(tmp_path: Path) -> None:
    async with open_log(tmp_path, "{level: Metadata, omitStages: [RequestReceived]}") as log:
        handler = log.api.server.handler
        request = Request("GET", "/version", "", Headers({"authorization": "Bearer nonsense"}))
        assert (await handler(request)).status == 401
        (refused,) = log.new()
        assert refused["stage"] == "ResponseStarted"
        assert refused["user"] == {}
        assert refused["responseStatus"]["message"] == "Authentication failed, attempted: bearer"
        assert b"nonsense" not in (tmp_path / "audit.log").read_bytes()
        await log.api.call("GET", "/version", impersonate_user="joe")
        (acting,) = log.new()
        assert acting["user"]["username"] == "admin"
        assert acting["user"]["groups"][0] == MASTERS
        assert acting["impersonatedUser"]["username"] == "joe"


async def test_plugins_leave_notes(tmp_path: Path) -> None:
    async with open_log(tmp_path, "{level: Metadata, omitStages: [RequestReceived]}") as log:
        await log.api.ok(
            "PATCH",
            "/api/v1/namespaces/default",
            {"metadata": {"labels": {"pod-security.kubernetes.io/audit": "baseline"}}},
            content_type="application/merge-patch+json",
        )
        log.new()
        spec = {"hostNetwork": True, "containers": [{"name": "c", "image": "i"}]}
        await log.api.ok("POST", PODS, {"metadata": {"name": "p"}, "spec": spec})
        (made,) = log.new()
    assert made["annotations"]["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest"
    assert "host namespaces" in made["annotations"]["pod-security.kubernetes.io/audit-violations"]


async def test_a_failure_of_the_server_is_a_panic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_log(tmp_path, "{level: Metadata, omitStages: [RequestReceived]}") as log:

        async def broken(call: object) -> Response:
            raise ZeroDivisionError

        monkeypatch.setattr(log.api.server.handler.__self__._routes, "serve", broken)  # type: ignore[attr-defined]
        assert (await log.api.call("GET", PODS)).status == 500
        assert [one["stage"] for one in log.new()] == ["Panic"]


async def test_batches_go_to_a_webhook_again_and_again_until_they_are_taken(tmp_path: Path) -> None:
    bodies: list[Object] = []
    arrived = asyncio.Event()

    async def take(request: Request) -> Response:
        bodies.append(json.loads(request.body))
        arrived.set()
        return Response(500 if len(bodies) == 1 else 200)

    async with http_server.open_server(take, host="127.0.0.1", port=0) as server:
        config = tmp_path / "webhook.yaml"
        config.write_text(
            f"clusters: [{{name: a, cluster: {{server: 'http://127.0.0.1:{server.port}/events'}}}}]\n"
            "contexts: [{name: c, context: {cluster: a}}]\ncurrent-context: c\n"
        )
        policy = "{level: Metadata, users: [jane], omitStages: [RequestReceived]}"
        async with open_log(tmp_path, policy, webhook=config, webhook_batch=2) as log:
            for _ in range(2):
                await log.api.as_user(JANE).call("GET", "/version")
            await asyncio.wait_for(arrived.wait(), 5)
            arrived.clear()
            while not arrived.is_set():
                await log.api.clock.advance(10)
                await asyncio.sleep(0.01)
            await log.api.as_user(JANE).call("GET", "/version")
    assert [len(body["items"]) for body in bodies] == [2, 2, 1]
    assert bodies[0] == bodies[1]
    assert bodies[0]["kind"] == "EventList"
