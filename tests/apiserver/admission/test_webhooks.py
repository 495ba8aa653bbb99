"""Admission webhooks against servers of our own."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from knarr.kit.http.messages import Request, Response
from tests.apiserver.conftest import Api, open_api
from tests.apiserver.remote import Hooks, Remote, open_remote, patch

Object = dict[str, Any]

GROUP = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@dataclass
class Bench:
    """An API server, and a webhook server behind it."""

    api: Api
    hooks: Hooks
    remote: Remote

    def hook(self, path: str, *resources: str, **rest: Any) -> Object:
        """Return a webhook that is for the writes of some resources."""
        operations = rest.pop("operations", ["CREATE", "UPDATE", "DELETE"])
        group, version = rest.pop("group", ""), rest.pop("version", "v1")
        rule = {
            "operations": operations,
            "apiGroups": [group],
            "apiVersions": [version],
            "resources": list(resources or ("configmaps",)),
        }
        return {
            "name": f"{path.strip('/')}.example.com",
            "clientConfig": {"url": f"{self.remote.url}{path}", "caBundle": self.remote.bundle},
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 2,
            **rest,
        }

    async def configure(self, kind: str, name: str, *hooks: Object) -> None:
        await self.api.ok(
            "POST", f"{GROUP}/{kind.lower()}webhookconfigurations", {"metadata": {"name": name}, "webhooks": hooks}
        )

    async def create(self, name: str = "x", **rest: Any) -> Object:
        return await self.api.ok("POST", CONFIGMAPS, {"metadata": {"name": name}, **rest})

    async def fails(self, code: int, name: str = "x", **rest: Any) -> str:
        message: str = (await self.api.fails(code, "POST", CONFIGMAPS, {"metadata": {"name": name}, **rest}))["message"]
        return message


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    hooks = Hooks()
    async with open_api() as api, open_remote(tmp_path, hooks.handle) as remote:
        yield Bench(api, hooks, remote)


def add_data(**data: str) -> Object:
    return patch({"op": "add", "path": "/data", "value": data})


async def test_validating_webhook_denies_with_its_words(bench: Bench) -> None:
    cases: dict[str, tuple[Object, int, str, str]] = {
        "/message": ({"message": "no way", "code": 403, "reason": "Forbidden"}, 403, ": no way", "Forbidden"),
        "/reason": ({"reason": "BecauseOfRain"}, 400, ": BecauseOfRain", "BecauseOfRain"),
        "/bare": ({}, 400, " without explanation", ""),
        "/success": ({"status": "Success", "code": 200}, 400, " without explanation", ""),
    }
    for path, (status, code, words, reason) in cases.items():
        bench.hooks.answers[path] = lambda _, status=status: {"allowed": False, "status": status}
        name = path.strip("/")
        await bench.configure("Validating", name, bench.hook(path))
        refusal = await bench.api.fails(code, "POST", CONFIGMAPS, {"metadata": {"name": "x"}})
        assert refusal["message"] == f'admission webhook "{name}.example.com" denied the request{words}'
        assert refusal.get("reason", "") == reason
        await bench.api.ok("DELETE", f"{GROUP}/validatingwebhookconfigurations/{name}")
    await bench.create()


async def test_webhook_is_told_everything_about_a_request(bench: Bench) -> None:
    bench.hooks.answers["/all"] = lambda _: {"warnings": ["beware"]}
    await bench.configure("Validating", "all", bench.hook("/all"))
    await bench.create(data={"a": "1"})
    response = await bench.api.call(
        "PUT", f"{CONFIGMAPS}/x?dryRun=All", {"metadata": {"name": "x"}, "data": {"a": "2"}}
    )
    assert response.headers.get_all("warning") == ['299 - "beware"']
    await bench.api.ok("DELETE", f"{CONFIGMAPS}/x")
    (_, create), (_, update), (_, delete) = bench.hooks.told
    assert bench.hooks.queries[0] == "timeout=2s"
    assert create["kind"] == create["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert create["resource"] == create["requestResource"] == {"group": "", "version": "v1", "resource": "configmaps"}
    assert (create["name"], create["namespace"], create["operation"], create["dryRun"]) == (
        "x",
        "default",
        "CREATE",
        False,
    )
    assert create["userInfo"] == {"username": "admin", "groups": ["system:masters", "system:authenticated"]}
    assert create["object"]["data"] == {"a": "1"}
    assert create["oldObject"] is None
    assert create["options"]["kind"] == "CreateOptions"
    assert "subResource" not in create
    assert (update["object"]["data"], update["oldObject"]["data"], update["dryRun"]) == ({"a": "2"}, {"a": "1"}, True)
    assert (delete["object"], delete["oldObject"]["data"]) == (None, {"a": "1"})
    assert delete["options"]["kind"] == "DeleteOptions"


async def test_mutating_webhooks_follow_each_other_by_name(bench: Bench) -> None:
    bench.hooks.answers["/one"] = lambda _: add_data(one="1")
    bench.hooks.answers["/two"] = lambda told: patch(
        {"op": "add", "path": "/data/two", "value": told["object"]["data"]["one"]}
    )
    await bench.configure("Mutating", "b", bench.hook("/two"))
    await bench.configure("Mutating", "a", bench.hook("/one"))
    assert (await bench.create())["data"] == {"one": "1", "two": "1"}
    assert bench.hooks.paths() == ["/one", "/two"]


async def test_what_a_webhook_leaves_is_defaulted_and_validated(bench: Bench) -> None:
    container = {"name": "side", "image": "busybox"}
    bench.hooks.answers["/side"] = lambda _: patch({"op": "add", "path": "/spec/containers/-", "value": container})
    await bench.configure("Mutating", "side", bench.hook("/side", "pods"))
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "busybox"}]}}
    path = "/api/v1/namespaces/default/pods"
    made = await bench.api.ok("POST", path, pod)
    assert made["spec"]["containers"][1]["terminationMessagePath"] == "/dev/termination-log"
    container["image"] = ""
    refusal = await bench.api.fails(422, "POST", path, {**pod, "metadata": {"name": "q"}})
    assert "spec.containers[1].image: Required value" in refusal["message"]


async def test_reinvocation_only_where_wanted_and_needed(bench: Bench) -> None:
    """The first webhook is called again since the second one changed the object after it; the others are not."""
    bench.hooks.answers["/first"] = lambda told: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"seen": "-".join(told["object"].get("data", {"none": ""}))}}
    )
    bench.hooks.answers["/never"] = lambda _: {}
    bench.hooks.answers["/second"] = lambda told: {} if "data" in told["object"] else add_data(late="1")
    await bench.configure(
        "Mutating",
        "all",
        bench.hook("/first", reinvocationPolicy="IfNeeded"),
        bench.hook("/never"),
        bench.hook("/second"),
    )
    made = await bench.create()
    assert bench.hooks.paths() == ["/first", "/never", "/second", "/first"]
    assert made["metadata"]["labels"] == {"seen": "late"}


async def test_failure_policy(bench: Bench) -> None:
    bench.hooks.answers["/liar"] = lambda _: {"uid": "other"}
    bench.hooks.answers["/patches"] = lambda _: add_data()
    closed = "https://127.0.0.1:1"
    cases: dict[str, tuple[Object, str]] = {
        "liar": (bench.hook("/liar"), "received invalid webhook response: expected response.uid="),
        "patches": (
            bench.hook("/patches"),
            "received invalid webhook response: validating webhook may not return response.patch",
        ),
        "closed": (
            bench.hook("/closed", clientConfig={"url": closed}),
            f'failed to call webhook: Post "{closed}/?timeout=2s": dial tcp 127.0.0.1:1: connect: connection refused',
        ),
        "stranger": (
            bench.hook("/stranger", clientConfig={"url": f"{bench.remote.url}/stranger"}),
            f'failed to call webhook: Post "{bench.remote.url}/stranger?timeout=2s": tls: failed to verify certificate: '
            "x509: certificate signed by unknown authority",
        ),
        "service": (
            bench.hook("/service", clientConfig={"service": {"namespace": "default", "name": "gone", "path": "/x"}}),
            'failed to call webhook: Post "https://gone.default.svc:443/x?timeout=2s": service "gone" not found',
        ),
    }
    for name, (hook, words) in cases.items():
        await bench.configure("Validating", name, hook)
        message = await bench.fails(500)
        start = f'Internal error occurred: failed calling webhook "{name}.example.com": '
        assert message.startswith(f"{start}{words}"), (name, message)
        hook["failurePolicy"] = "Ignore"
        path = f"{GROUP}/validatingwebhookconfigurations/{name}"
        current = await bench.api.ok("GET", path)
        await bench.api.ok("PUT", path, {**current, "webhooks": [hook]})
        await bench.create(name)
        await bench.api.ok("DELETE", path)


async def test_timeout(tmp_path: Path) -> None:
    async def waits(request: Request) -> Response:
        await asyncio.sleep(30)
        raise AssertionError

    async with open_api() as api, open_remote(tmp_path, waits) as remote:
        bench = Bench(api, Hooks(), remote)
        await bench.configure("Validating", "slow", bench.hook("/slow", timeoutSeconds=1))
        words = f'failed to call webhook: Post "{remote.url}/slow?timeout=1s": context deadline exceeded'
        assert await bench.fails(500) == f'Internal error occurred: failed calling webhook "slow.example.com": {words}'


async def test_selectors_scopes_and_exemptions(bench: Bench) -> None:
    bench.hooks.answers["/no"] = lambda _: {"allowed": False}
    spaces = "/api/v1/namespaces"
    await bench.api.ok("POST", spaces, {"metadata": {"name": "marked", "labels": {"check": "yes"}}})
    selected = {"matchLabels": {"check": "yes"}}
    await bench.configure("Validating", "namespaces", bench.hook("/no", namespaceSelector=selected))
    await bench.create("free")
    await bench.api.fails(400, "POST", f"{spaces}/marked/configmaps", {"metadata": {"name": "x"}})
    await bench.configure("Validating", "objects", bench.hook("/no", objectSelector=selected))
    await bench.create("free2")
    await bench.api.fails(400, "POST", CONFIGMAPS, {"metadata": {"name": "y", "labels": {"check": "yes"}}})
    everything = bench.hook("/no", "*/*", group="*", version="*", objectSelector=selected)
    everything["rules"][0]["operations"] = ["*"]
    await bench.configure("Validating", "everything", everything)
    # What configures admission is never judged by it: a way out must stay open.
    path = f"{GROUP}/validatingwebhookconfigurations"
    marked = {"metadata": {"name": "more", "labels": {"check": "yes"}}, "webhooks": []}
    await bench.api.ok("POST", path, marked)
    await bench.api.fails(400, "POST", spaces, {"metadata": {"name": "marked2", "labels": {"check": "yes"}}})
    await bench.api.ok("DELETE", f"{path}/everything")
    cluster = bench.hook("/no", "*", group="*", version="*", objectSelector=selected)
    cluster["rules"][0]["scope"] = "Cluster"
    await bench.api.ok("DELETE", f"{path}/objects")
    await bench.configure("Validating", "cluster", cluster)
    await bench.api.ok("POST", CONFIGMAPS, {"metadata": {"name": "y", "labels": {"check": "yes"}}})
    await bench.api.fails(400, "POST", spaces, {"metadata": {"name": "marked2", "labels": {"check": "yes"}}})


async def test_equivalent_versions_are_converted(bench: Bench) -> None:
    """A rule for autoscaling/v1 sees writes of autoscaling/v2 too, in its version, and patches them there."""
    bench.hooks.answers["/hpa"] = lambda _: patch(
        {"op": "replace", "path": "/spec/targetCPUUtilizationPercentage", "value": 70}
    )
    bench.hooks.answers["/exact"] = lambda _: {"allowed": False}
    await bench.configure(
        "Mutating",
        "hpa",
        bench.hook("/hpa", "horizontalpodautoscalers", group="autoscaling"),
        bench.hook("/exact", "horizontalpodautoscalers", group="autoscaling", matchPolicy="Exact"),
    )
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    spec = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3}
    hpa = {"metadata": {"name": "h"}, "spec": {**spec, "metrics": [metric]}}
    made = await bench.api.ok("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", hpa)
    assert made["apiVersion"] == "autoscaling/v2"
    assert made["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 70
    ((_, told),) = bench.hooks.told
    assert told["object"]["apiVersion"] == "autoscaling/v1"
    assert told["object"]["spec"]["targetCPUUtilizationPercentage"] == 50
    assert (told["kind"]["version"], told["requestKind"]["version"]) == ("v1", "v2")


async def test_dry_run_needs_webhooks_without_side_effects(bench: Bench) -> None:
    bench.hooks.answers["/some"] = lambda _: {}
    hook = bench.hook("/some")
    await bench.configure("Validating", "some", {**hook, "sideEffects": "NoneOnDryRun"})
    await bench.api.ok("POST", f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "x"}})
    # Such a webhook cannot be configured any more, but may be stored since older times.
    registry = bench.api.server.parts.registry
    stored = registry.get("validatingwebhookconfigurations.admissionregistration.k8s.io", "", "some")
    assert stored is not None
    stored["webhooks"][0]["sideEffects"] = "Unknown"
    await registry.update("validatingwebhookconfigurations.admissionregistration.k8s.io", stored)
    refusal = await bench.api.fails(400, "POST", f"{CONFIGMAPS}?dryRun=All", {"metadata": {"name": "x"}})
    assert refusal["message"] == 'admission webhook "some.example.com" does not support dry run'


async def test_connect_and_subresources(bench: Bench) -> None:
    bench.hooks.answers["/sub"] = lambda told: {"allowed": False, "status": {"message": told["subResource"]}}
    await bench.configure(
        "Validating", "sub", bench.hook("/sub", "pods/exec", "pods/status", operations=["*"], group="*")
    )
    pods = "/api/v1/namespaces/default/pods"
    await bench.api.ok("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    message = (await bench.api.fails(400, "POST", f"{pods}/p/exec?command=ls&container=c"))["message"]
    assert message == 'admission webhook "sub.example.com" denied the request: exec'
    _, told = bench.hooks.told[-1]
    assert (told["operation"], told["kind"]["kind"], told["object"]["command"]) == ("CONNECT", "PodExecOptions", ["ls"])
    await bench.api.fails(400, "PATCH", f"{pods}/p/status", {}, content_type="application/merge-patch+json")
