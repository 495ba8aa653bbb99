"""Who decides: the order of authorizers, and a webhook among them."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.api.user import ALL_AUTHENTICATED, User
from knarr.apiserver import requestinfo
from knarr.apiserver.authz import configuration
from knarr.kit.http.messages import Request, Response
from tests.apiserver.conftest import open_api
from tests.apiserver.remote import Remote, open_remote, send_json

Object = dict[str, Any]

JANE = User("jane", (ALL_AUTHENTICATED,), "u1", {"a": ("b",)})
PODS = "/api/v1/namespaces/default/pods"


class Policy:
    """A webhook: jane may read what is not secret, nobody may delete."""

    def __init__(self) -> None:
        self.asked: list[Object] = []

    async def handle(self, request: Request) -> Response:
        spec = json.loads(request.body)["spec"]
        self.asked.append(spec)
        attributes = spec.get("resourceAttributes") or {}
        if attributes.get("resource") == "events":
            return Response(503)
        if attributes.get("verb") == "delete":
            return send_json({"status": {"allowed": False, "denied": True, "reason": "nothing is deleted here"}})
        allowed = spec["user"] == "jane" and attributes.get("resource") != "secrets"
        return send_json({"status": {"allowed": allowed, "reason": "by policy" if allowed else ""}})


def write(folder: Path, remote: Remote, *after: str, **more: Any) -> Path:
    cluster = {"server": remote.url, "certificate-authority-data": remote.bundle}
    (folder / "webhook.yaml").write_text(yaml.safe_dump({"clusters": [{"name": "a", "cluster": cluster}]}))
    webhook = {
        "failurePolicy": "NoOpinion",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": "webhook.yaml"},
        "timeout": "3s",
        "authorizedTTL": "1m",
        "unauthorizedTTL": "10s",
        **more,
    }
    listed: list[Object] = [{"type": "Webhook", "name": "policy", "webhook": webhook}]
    listed += [{"type": kind, "name": kind.lower()} for kind in after]
    path = folder / "authorization.yaml"
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    path.write_text(yaml.safe_dump({**head, "authorizers": listed}))
    return path


async def test_a_webhook_allows_denies_and_has_no_opinion(tmp_path: Path) -> None:
    policy = Policy()
    async with (
        open_remote(tmp_path, policy.handle) as remote,
        open_api(authorization=write(tmp_path, remote, "Node", "RBAC")) as api,
    ):
        jane = api.as_user(JANE)
        for _ in range(2):
            await jane.ok("GET", PODS)
        assert len(policy.asked) == 1
        assert policy.asked[0] == {
            "user": "jane",
            "groups": [ALL_AUTHENTICATED],
            "uid": "u1",
            "extra": {"a": ["b"]},
            "resourceAttributes": {"namespace": "default", "verb": "list", "version": "v1", "resource": "pods"},
        }
        await jane.fails(403, "GET", "/api/v1/namespaces/default/secrets")
        status = await jane.fails(403, "DELETE", f"{PODS}/x")
        assert status["message"].endswith(": nothing is deleted here")
        status = await jane.fails(403, "GET", "/api/v1/events")
        assert "policy: HTTP 503" in status["message"]
        assert (await jane.call("GET", "/version")).status == 200
        before = len(policy.asked)
        await jane.ok("GET", PODS)
        await api.clock.advance(61)
        await jane.ok("GET", PODS)
        assert len(policy.asked) == before + 1
        await api.ok("DELETE", "/api/v1/namespaces/default/serviceaccounts/default")


async def test_reviews_ask_the_webhook(tmp_path: Path) -> None:
    async with (
        open_remote(tmp_path, Policy().handle) as remote,
        open_api(authorization=write(tmp_path, remote, "RBAC")) as api,
    ):
        for verb, expected in (("get", {"allowed": True, "reason": "by policy"}),
                               ("delete", {"allowed": False, "denied": True, "reason": "nothing is deleted here"})):  # fmt: skip
            spec = {"user": "jane", "resourceAttributes": {"verb": verb, "resource": "pods"}}
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            assert (await api.ok("POST", path, {"spec": spec}))["status"] == expected


async def test_a_failure_may_deny_and_conditions_may_spare_the_question(tmp_path: Path) -> None:
    policy = Policy()
    conditions = [{"expression": "has(request.resourceAttributes) && request.user != 'joe'"}]
    async with open_remote(tmp_path, policy.handle) as remote:
        path = write(tmp_path, remote, "AlwaysAllow", failurePolicy="Deny", matchConditions=conditions)
        async with open_api(authorization=path) as api:
            await api.as_user(JANE).fails(403, "GET", "/api/v1/events")
            assert len(policy.asked) == 1
            await api.as_user(User("joe", ())).ok("GET", "/api/v1/events")
            assert (await api.as_user(JANE).call("GET", "/version")).status == 200
            assert len(policy.asked) == 1


@pytest.mark.parametrize(
    "status",
    [
        {"allowed": "false"},
        {"allowed": "true"},
        {"allowed": 1},
        {"allowed": True, "denied": True},
        {"allowed": True, "reason": {}},
        [],
        None,
    ],
)
async def test_answers_that_make_no_sense_allow_nothing(tmp_path: Path, status: Any) -> None:
    async def answer(request: Request) -> Response:
        return send_json({"status": status})

    async with open_remote(tmp_path, answer) as remote:
        async with open_api(authorization=write(tmp_path, remote, "AlwaysAllow", failurePolicy="Deny")) as api:
            await api.as_user(JANE).fails(403, "GET", PODS)
        async with open_api(authorization=write(tmp_path, remote, "RBAC")) as api:
            await api.as_user(JANE).fails(403, "GET", PODS)


async def test_who_cannot_wait_for_the_webhook_gets_no(tmp_path: Path) -> None:
    policy = Policy()
    async with (
        open_remote(tmp_path, policy.handle) as remote,
        open_api(authorization=write(tmp_path, remote, "AlwaysAllow")) as api,
    ):
        authorizer = api.server.parts.authorizer
        info = requestinfo.parse("GET", PODS)
        assert not authorizer.authorize(JANE, info).allowed
        assert (await authorizer.decide(JANE, info)).allowed
        assert authorizer.authorize(JANE, info).allowed
        asked = len(policy.asked)
        long = requestinfo.parse("GET", f"/{'x' * 20_000}")
        for _ in range(2):
            await authorizer.decide(JANE, long)
        assert len(policy.asked) == asked + 2


BAD = [
    ({"authorizers": []}, "at least one"),
    ({"authorizers": [{"type": "ABAC", "name": "a"}]}, "Unsupported value"),
    ({"authorizers": [{"type": "RBAC", "name": "a"}, {"type": "RBAC", "name": "b"}]}, "Duplicate value"),
    ({"authorizers": [{"type": "Node"}]}, "name: Required value"),
    ({"authorizers": [{"type": "Node", "name": "a"}, {"type": "RBAC", "name": "a"}]}, "Duplicate value"),
    ({"authorizers": [{"type": "Webhook", "name": "a"}]}, "type=Webhook"),
    ({"authorizers": [{"type": "Webhook", "name": "a", "webhook": {}}]}, "failurePolicy"),
    ({"authorizers": [{"type": "Webhook", "name": "a", "webhook": {"failurePolicy": "Deny"}}]}, "KubeConfigFile"),
    ({"authorizers": "x"}, "wrong type"),
    ({"kind": "Pod"}, "expected kind"),
]


@pytest.mark.parametrize(("more", "words"), BAD)
def test_files_that_cannot_be_used(tmp_path: Path, more: Object, words: str) -> None:
    path = tmp_path / "a.yaml"
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
    path.write_text(yaml.safe_dump({**head, **more}))
    with pytest.raises(configuration.BadConfiguration) as caught:
        configuration.load(path)
    assert words in str(caught.value)
