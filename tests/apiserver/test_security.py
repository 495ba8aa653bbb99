"""What must not work: each attempt is refused, without much work, and can be found in the audit log."""

import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from knarr.api import codec, codec_yaml
from knarr.api.user import ALL_AUTHENTICATED, MASTERS, User
from knarr.apiserver import selection
from knarr.apiserver.audit.settings import Settings
from knarr.apiserver.proxy import allowed
from knarr.apiserver.proxy.backends import path_behind
from knarr.kit.http.messages import Headers, Peer, Request, Response
from knarr.store.store import VALUE_BYTES
from tests.apiserver.conftest import Api, decoded, open_api

Object = dict[str, Any]

MERGE, JSON_PATCH, YAML = "application/merge-patch+json", "application/json-patch+json", "application/yaml"
CONFIG_MAPS = "/api/v1/namespaces/a/configmaps"
ANN = User("system:serviceaccount:a:ann", ("system:serviceaccounts", "system:serviceaccounts:a", ALL_AUTHENTICATED))


class World:
    """An API server with an audit log, and Ann, who may do anything in namespace "a" and nothing else."""

    def __init__(self, api: Api, log: Path) -> None:
        self.api = api
        self.ann = api.as_user(ANN)
        self._log = log
        self._seen = len(log.read_bytes().splitlines())

    def logged(self) -> list[Object]:
        lines = self._log.read_bytes().splitlines()
        found = [json.loads(line) for line in lines[self._seen :]]
        self._seen = len(lines)
        return [one for one in found if one["stage"] != "RequestReceived"]

    async def refused(self, api: Api, code: int, method: str, path: str, body: Any = None, **more: Any) -> Response:
        """Send what must be refused with a code, and find that in the log."""
        self.logged()
        response = await api.call(method, path, body, **more)
        assert response.status == code, (response.status, response.body)
        assert {one["responseStatus"]["code"] for one in self.logged()} == {code}
        return response

    async def raw(self, path: str, **headers: str) -> Response:
        """Send a request as from a socket: with credentials in headers alone."""
        fields = Headers({name.replace("_", "-"): value for name, value in headers.items()})
        place, _, query = path.partition("?")
        return await self.api.server.handler(Request("GET", place, query, fields, b"", Peer("192.0.2.7")))


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    policy = folder / "policy.yaml"
    policy.write_text("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n")
    async with open_api(audit=Settings(policy=policy, log=folder / "audit.log")) as api:
        for name in ("a", "b"):
            await api.ok("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
            await api.ok("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "ann"}})
            await api.ok(
                "POST", f"/api/v1/namespaces/{name}/secrets", {"metadata": {"name": "s"}, "stringData": {"k": name}}
            )
        rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/a"
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        await api.ok("POST", f"{rbac}/roles", {"metadata": {"name": "all"}, "rules": rules})
        binding = {
            "metadata": {"name": "all"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "all"},
            "subjects": [{"kind": "ServiceAccount", "name": "ann", "namespace": "a"}],
        }
        await api.ok("POST", f"{rbac}/rolebindings", binding)
        yield World(api, folder / "audit.log")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as found:
        yield found


ELSEWHERE = [
    "/api/v1/namespaces/b/secrets/s",
    "/api/v1/namespaces/b/secrets",
    "/api/v1/secrets",
    "/api/v1/secrets?fieldSelector=metadata.namespace%3Da",
    "/api/v1/secrets?fieldSelector=metadata.namespace=b,metadata.name=s",
    "/api/v1/namespaces/b/secrets?watch=1",
    "/api/v1/watch/namespaces/b/secrets",
    "/api/v1/watch/secrets",
    "/api/v1/namespaces/b/secrets?watch=true&resourceVersion=1",
    "/api/v1//namespaces/b/secrets/s",
    "/api//v1/namespaces//b/secrets/s",
    "/api/v1/namespaces/b%2Fsecrets/s",
    "/api/v1/namespaces/b/pods/p/log",
    "/api/v1/namespaces/b/pods/p/proxy/",
    "/apis/apps/v1/deployments?namespace=a",
]


@pytest.mark.parametrize("path", ELSEWHERE)
async def test_reads_across_namespaces(world: World, path: str) -> None:
    response = await world.refused(world.ann, 403, "GET", path)
    assert b'"k"' not in bytes(response.body)  # type: ignore[arg-type]


TRAVERSALS = [
    "/api/v1/namespaces/a/../b/secrets/s",
    "/api/v1/namespaces/a/%2e%2e/b/secrets/s",
    "/api/v1/namespaces/a/configmaps/..%2f..%2fb%2fsecrets%2fs",
    "/api/v1/namespaces/a/configmaps/../../b/secrets/s",
    "/api/v1/namespaces/a%00/../b/secrets/s",
    "/api/v1/namespaces/a/secrets/..%5c..%5cb%5csecrets%5cs",
]


@pytest.mark.parametrize("path", TRAVERSALS)
async def test_paths_that_climb(world: World, path: str) -> None:
    for api in (world.ann, world.api):
        response = await api.call("GET", path)
        assert response.status in (400, 403, 404), response.status
        assert b"Yg==" not in bytes(response.body)  # type: ignore[arg-type]


async def test_an_object_for_another_namespace(world: World) -> None:
    await world.refused(world.ann, 400, "POST", CONFIG_MAPS, {"metadata": {"name": "x", "namespace": "b"}})
    await world.refused(world.ann, 403, "PUT", "/api/v1/namespaces/b/configmaps/x", {"metadata": {"name": "x"}})
    await world.refused(world.ann, 403, "DELETE", "/api/v1/namespaces/b/secrets")


async def token_of(world: World, bound: Object | None = None) -> str:
    spec: Object = {"expirationSeconds": 3600}
    if bound is not None:
        spec["boundObjectRef"] = bound
    made = await world.api.ok("POST", "/api/v1/namespaces/a/serviceaccounts/ann/token", {"spec": spec})
    token: str = made["status"]["token"]
    return token


async def test_tokens_end_with_what_they_are_bound_to(world: World) -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"serviceAccountName": "ann", "containers": [{"name": "c", "image": "i"}]},
    }
    made = await world.api.ok("POST", "/api/v1/namespaces/a/pods", pod)
    reference = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
    bound, free = await token_of(world, reference), await token_of(world)
    for token in (bound, free):
        assert (await world.raw(CONFIG_MAPS, authorization=f"Bearer {token}")).status == 200
    await world.api.ok("DELETE", "/api/v1/namespaces/a/pods/p?gracePeriodSeconds=0")
    await world.api.ok("POST", "/api/v1/namespaces/a/pods", pod)
    assert (await world.raw(CONFIG_MAPS, authorization=f"Bearer {bound}")).status == 401
    await world.api.ok("DELETE", "/api/v1/namespaces/a/serviceaccounts/ann")
    await world.api.ok("POST", "/api/v1/namespaces/a/serviceaccounts", {"metadata": {"name": "ann"}})
    world.logged()
    assert (await world.raw(CONFIG_MAPS, authorization=f"Bearer {free}")).status == 401
    (event,) = world.logged()
    assert event["responseStatus"]["code"] == 401
    assert event["user"] == {}
    await world.api.clock.advance(4000)
    assert (await world.raw(CONFIG_MAPS, authorization=f"Bearer {await token_of(world)}")).status == 200


async def test_tokens_with_another_signature_or_none(world: World) -> None:
    token = await token_of(world)
    head, claims, signature = token.split(".")
    none = "eyJhbGciOiJub25lIn0"
    for forged in (f"{head}.{claims}.", f"{none}.{claims}.", f"{none}.{claims}.{signature}", f"{head}.{claims}x.{signature}",
                   f"{token}.x", token[:-4]):  # fmt: skip
        assert (await world.raw(CONFIG_MAPS, authorization=f"Bearer {forged}")).status == 401


IMPERSONATION = [
    ({"impersonate_user": "root"}, 403),
    ({"impersonate_group": MASTERS}, 400),
    ({"impersonate_user": ANN.name, "impersonate_group": MASTERS}, 403),
    ({"impersonate_user": ANN.name, "impersonate_uid": "1"}, 403),
    ({"impersonate_user": ANN.name, "impersonate_extra_scopes": "all"}, 403),
    ({"impersonate_extra_scopes": "all"}, 400),
    ({"IMPERSONATE_USER": "root"}, 403),
    ({"x_remote_user": "root", "x_remote_group": MASTERS}, 403),
    ({"impersonate_user": "root", "x_remote_user": "root"}, 403),
]


@pytest.mark.parametrize(("headers", "code"), IMPERSONATION)
async def test_headers_that_name_somebody_else(world: World, headers: dict[str, str], code: int) -> None:
    await world.refused(world.ann, code, "GET", "/api/v1/namespaces/b/secrets/s", **headers)


@pytest.mark.parametrize("subresource", ["exec", "attach", "portforward"])
async def test_who_may_read_opens_no_streams(world: World, subresource: str) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/a"
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["get", "list", "watch"]}]
    await world.api.ok("POST", f"{rbac}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "rita"}],
    }
    await world.api.ok("POST", f"{rbac}/rolebindings", binding)
    rita = world.api.as_user(User("rita", (ALL_AUTHENTICATED,)))
    upgrade = {"connection": "Upgrade", "upgrade": "websocket"}
    path = f"/api/v1/namespaces/a/pods/p/{subresource}?command=sh&stdin=1&ports=80"
    response = await world.refused(rita, 403, "GET", path, **upgrade)
    assert f'User "rita" cannot create resource "pods/{subresource}"' in decoded(response)["message"]
    assert (await world.ann.call("GET", path, **upgrade)).status == 404


async def test_labels_do_not_hand_a_role_to_others(world: World) -> None:
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["get", "patch"]}]
    await world.api.ok("POST", f"{rbac}/clusterroles", {"metadata": {"name": "labeller"}, "rules": rules})
    binding = {
        "metadata": {"name": "labeller"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "labeller"},
        "subjects": [{"kind": "ServiceAccount", "name": "ann", "namespace": "a"}],
    }
    await world.api.ok("POST", f"{rbac}/clusterrolebindings", binding)
    label = {"metadata": {"labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    path = f"{rbac}/clusterroles/cluster-admin"
    await world.refused(world.ann, 403, "PATCH", path, label, content_type=MERGE)


async def test_a_front_proxy_is_known_by_its_certificate_alone(world: World) -> None:
    response = await world.raw("/api/v1/secrets", x_remote_user="root", x_remote_group=MASTERS)
    assert response.status == 403
    assert b'User \\"system:anonymous\\"' in bytes(response.body)  # type: ignore[arg-type]
    (event,) = world.logged()[-1:]
    assert event["user"]["username"] == "system:anonymous"
    assert event["sourceIPs"] == ["192.0.2.7"]


ADDRESSES = [
    ("10.0.0.1", True),
    ("2001:db8::1", True),
    ("169.254.169.254", False),
    ("::ffff:169.254.169.254", False),
    ("fe80::1", False),
    ("127.0.0.1", False),
    ("127.8.8.8", False),
    ("::1", False),
    ("::ffff:127.0.0.1", False),
    ("0.0.0.0", False),
    ("::", False),
    ("224.0.0.1", False),
    ("255.255.255.255", False),
    ("localhost", False),
    ("2130706433", False),
    ("", False),
]


@pytest.mark.parametrize(("address", "is_fine"), ADDRESSES)
def test_addresses_that_are_proxied_to(address: str, is_fine: bool) -> None:
    assert allowed.is_allowed(address) == is_fine


@pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "localhost"])
async def test_nodes_and_pods_at_addresses_of_others(world: World, address: str) -> None:
    kind = "InternalIP" if address[0].isdigit() else "Hostname"
    status = {"addresses": [{"type": kind, "address": address}]}
    await world.api.ok("POST", "/api/v1/nodes", {"metadata": {"name": "n"}, "status": status})
    for path in ("n/proxy/", "n:80/proxy/latest/meta-data/", "http:n:80/proxy/"):
        response = await world.refused(world.api, 400, "GET", f"/api/v1/nodes/{path}")
        assert decoded(response)["message"] == "address not allowed"
    await world.refused(world.api, 404, "GET", f"/api/v1/nodes/{address}:80/proxy/")
    if kind == "InternalIP":
        spec = {"serviceAccountName": "ann", "containers": [{"name": "c", "image": "i"}]}
        pod = {"metadata": {"name": "p"}, "spec": spec}
        await world.api.ok("POST", "/api/v1/namespaces/a/pods", pod)
        body = {"status": {"podIP": address}}
        await world.api.ok("PATCH", "/api/v1/namespaces/a/pods/p/status", body, content_type=MERGE)
        await world.refused(world.ann, 400, "GET", "/api/v1/namespaces/a/pods/p:80/proxy/")


async def test_services_whose_endpoints_are_no_pods(world: World) -> None:
    services = "/api/v1/namespaces/a/services"
    await world.ann.ok("POST", services, {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}})
    for address, code in (("169.254.169.254", 422), ("127.0.0.1", 422), ("10.0.0.1", 201)):
        subset = {"addresses": [{"ip": address}], "ports": [{"port": 80}]}
        made = await world.ann.call(
            "POST", "/api/v1/namespaces/a/endpoints", {"metadata": {"name": "s"}, "subsets": [subset]}
        )
        assert made.status == code
    response = await world.refused(world.ann, 503, "GET", f"{services}/s:80/proxy/")
    assert decoded(response)["message"] == 'no endpoints available for service "s"'


PROXIED = [
    ("/api/v1/namespaces/a/pods/p/proxy/x/y", 5, "/x/y"),
    ("/api/v1/namespaces/a/pods/p/proxy", 3, None),
    ("/api/v1/namespaces/proxy/pods/proxy/proxy/proxy", 4, "/proxy"),
    ("/api/v1//namespaces/a/pods/p/proxy//x", 4, "//x"),
    ("/api/v1/nodes/n/proxy/..%2f..%2fx", 6, "/..%2f..%2fx"),
]


@pytest.mark.parametrize(("path", "count", "behind"), PROXIED)
def test_what_of_a_path_is_passed_on(path: str, count: int, behind: str | None) -> None:
    assert path_behind(path, count) == behind


async def test_a_slash_in_disguise_does_not_move_the_proxied_path(world: World) -> None:
    await world.refused(world.api, 404, "GET", "/api/v1/namespaces/a/pods%2Fp/proxy/x")


BOMBS = {
    "aliases": (b"a: &a [x,x,x,x,x,x,x,x,x]\n" + b"".join(
        b"%c: &%c [%b]\n" % (98 + i, 98 + i, b",".join([b"*%c" % (97 + i)] * 9)) for i in range(12)
    ), YAML),
    "alias of itself": (b"a: &a\n  b: *a\n", YAML),
    "deep JSON": (b'{"data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, "application/json"),
    "deep lists": (b"[" * 1_000_000, "application/json"),
    "deep YAML in JSON's form": (b'{"data":' + b'{"a":' * 100_000 + b"1" + b"}" * 100_001, YAML),
    "deep YAML": (b"".join(b" " * depth + b"a:\n" for depth in range(1000)), YAML),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
async def test_bodies_that_explode(world: World, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    body, form = BOMBS[name]
    nodes = 0
    read = codec_yaml._Reader.read

    def counting(self: Any, *arguments: Any, **more: Any) -> Any:
        nonlocal nodes
        nodes += 1
        return read(self, *arguments, **more)

    monkeypatch.setattr(codec_yaml._Reader, "read", counting)
    await world.refused(world.ann, 400, "POST", CONFIG_MAPS, body, content_type=form)
    # Twice, as duplicate keys are looked for in a pass of their own; the first bomb would be 10^11 nodes.
    assert nodes < 1_000_000
    with pytest.raises(codec.BadBody):
        codec.decode(body, form)


@pytest.mark.parametrize("kind", ["labelSelector", "fieldSelector"])
async def test_selectors_without_end(world: World, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    parsed: list[str] = []
    monkeypatch.setattr(selection, "_parse_labels", parsed.append)
    monkeypatch.setattr(selection, "_parse_fields", parsed.append)
    terms = ",".join(
        f"metadata.name!=a{index}" if kind == "fieldSelector" else f"!a{index}" for index in range(100_000)
    )
    for query in ("", "&watch=1"):
        response = await world.ann.call("GET", f"{CONFIG_MAPS}?{kind}={terms}{query}")
        body = response.body if isinstance(response.body, bytes) else b"".join([chunk async for chunk in response.body])
        assert b"at most 1000 requirements" in body
    assert not parsed


async def test_one_requirement_may_have_many_values(world: World) -> None:
    values = ",".join(f"v{index}" for index in range(5000))
    found = await world.ann.ok("GET", f"{CONFIG_MAPS}?labelSelector=a in ({values})")
    assert found["items"] == []


async def test_patches_that_explode(world: World) -> None:
    await world.ann.ok("POST", CONFIG_MAPS, {"metadata": {"name": "x"}, "data": {"k": "v" * 1000}})
    path = f"{CONFIG_MAPS}/x"
    many = [{"op": "test", "path": "/kind", "value": "ConfigMap"}] * 10_001
    response = await world.refused(world.ann, 413, "PATCH", path, many, content_type=JSON_PATCH)
    assert "maximum operations in a JSON patch is 10000" in decoded(response)["message"]
    doubling = [{"op": "copy", "from": "/data", "path": f"/data/k{index}"} for index in range(40)]
    await world.refused(world.ann, 422, "PATCH", path, doubling, content_type=JSON_PATCH)
    deep = b'{"data":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    await world.refused(world.ann, 400, "PATCH", path, deep, content_type=MERGE)
    await world.refused(world.ann, 400, "PATCH", path, deep, content_type="application/strategic-merge-patch+json")
    await world.refused(
        world.ann, 400, "PATCH", f"{path}?fieldManager=m", deep, content_type="application/apply-patch+yaml"
    )
    after = await world.ann.ok("GET", path)
    assert after["data"] == {"k": "v" * 1000}


async def test_objects_do_not_grow_without_end(world: World) -> None:
    store = world.api.server.parts.store
    before = store.revision
    finalizers = [f"a.b/{index:0100d}"[:66] for index in range(VALUE_BYTES // 60)]
    body = {"metadata": {"name": "x", "finalizers": finalizers}}
    response = await world.refused(world.ann, 413, "POST", CONFIG_MAPS, body)
    assert "etcdserver: request is too large" in decoded(response)["message"]
    assert store.revision == before
