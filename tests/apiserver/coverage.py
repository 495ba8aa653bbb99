"""Calls every endpoint that v1.37 lists, each with its verb and a good body, and tells which answer as they should.

`scripts/coverage` writes the result down in docs/reference/api.md; test_coverage.py holds it to what upstream serves by default.
"""

import contextlib
import json
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knarr.kit.http.messages import Headers, Request
from knarr.kit.http.server import open_server
from tests.apiserver.conftest import Api, decoded
from tests.apiserver.examples import Examples
from tests.apiserver.test_proxy import Backend, open_world
from tests.apiserver.test_verbs import PODS

Object = dict[str, Any]

DATA = Path(__file__).with_name("data")
DOCUMENT = Path(__file__).parents[2] / "docs/reference/api.md"
MERGE = "application/merge-patch+json"
OFF_BY_DEFAULT = {
    "/apis/internal.apiserver.k8s.io/": "its only version is alpha",
    "/apis/storagemigration.k8s.io/": "its only version is beta",
}
"""Listed as stable, and not served by upstream unless it is told to: groups without a stable version."""
ON_BY_DEFAULT = ("/.well-known/openid-configuration/", "/openid/v1/jwks/")
"""Listed as beta, and served by upstream all the same."""
_TITLES = {"/api": "APIVersions", "/apis": "APIGroupList"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A row of endpoints-1.37.json.

    Attributes:
        method: The HTTP method.
        path: With "{namespace}", "{name}", "{path}" where they vary.
        action: "get", "list", "post", "put", "patch", "delete", "deletecollection", "connect", or "read" for other paths.
        kind: What it is about.
        level: "stable", "beta" or "alpha".
    """

    method: str
    path: str
    action: str
    kind: str
    level: str

    @property
    def group(self) -> str:
        """The group and version, or the first part of a path that is about neither."""
        parts = self.path.strip("/").split("/")
        if parts[0] == "api":
            return "v1"
        return "/".join(parts[1:3]) if len(parts) > 2 and parts[0] == "apis" else "other paths"

    @property
    def is_expected(self) -> bool:
        """Whether upstream serves it by default, or with nothing but a folder of logs."""
        return self.path in ON_BY_DEFAULT or (self.level == "stable" and self.path not in OFF_BY_DEFAULT)


@dataclass(frozen=True, slots=True)
class Result:
    """What came of calling an endpoint; `why` is empty if it is served as it should be."""

    endpoint: Endpoint
    why: str


def endpoints() -> list[Endpoint]:
    """Return all endpoints."""
    return [Endpoint(*row) for row in json.loads((DATA / "endpoints-1.37.json").read_text())["endpoints"]]


@contextlib.asynccontextmanager
async def open_walker(folder: Path) -> AsyncIterator["Walker"]:
    """Start a server with a node, a pod and a Service, all of which a small web server stands behind."""
    backend = Backend()
    (folder / "server.log").write_text("started\n")
    async with open_world(folder, logs_dir=folder) as (api, _), open_server(backend.handle) as pods:
        await api.ok("PATCH", f"{PODS}/p/status", {"status": {"podIP": "127.0.0.1"}}, content_type=MERGE)
        service = {"metadata": {"name": "s"}, "spec": {"ports": [{"name": "web", "port": 80}]}}
        await api.ok("POST", "/api/v1/namespaces/default/services", service)
        subset = {
            "addresses": [{"ip": "127.0.0.1", "targetRef": {"kind": "Pod", "namespace": "default", "name": "p"}}],
            "ports": [{"name": "web", "port": pods.port}],
        }
        made = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "s", "namespace": "default"}}
        await api.server.parts.registry.create("endpoints", {**made, "subsets": [subset]})
        yield Walker(api, pods.port)


class Walker:
    """Calls endpoints, each about an object of its own.

    Args:
        api: The server.
        pod_port: Where the pod "p" listens.
    """

    def __init__(self, api: Api, pod_port: int) -> None:
        self._api = api
        self._pod_port = pod_port
        self._examples = Examples()

    async def walk(self, chosen: Sequence[Endpoint]) -> list[Result]:
        """Call endpoints in turn."""
        return [Result(one, await self._call(one)) for one in chosen]

    async def _call(self, endpoint: Endpoint) -> str:
        try:
            if endpoint.action == "connect":
                await self._connect(endpoint)
            elif endpoint.action == "read":
                await self._read(endpoint)
            elif endpoint.path.endswith("/log"):
                response = await self._api.call("GET", f"{PODS}/p/log")
                assert (response.status, response.body) == (200, b"one\ntwo\n"), response
            else:
                await getattr(self, f"_{endpoint.action}")(endpoint)
        except (AssertionError, KeyError) as err:
            return str(err) or type(err).__name__
        return ""

    async def _read(self, endpoint: Endpoint) -> None:
        response = await self._api.call("GET", endpoint.path.replace("{logpath}", "server.log"))
        assert response.status == 200, (response.status, response.body)
        path = endpoint.path.rstrip("/")
        if path.startswith("/api"):
            title = _TITLES.get(path, "APIGroup" if path.count("/") == 2 and path != "/api/v1" else "APIResourceList")
            assert decoded(response)["kind"] == title, response.body

    async def _connect(self, endpoint: Endpoint) -> None:
        path = endpoint.path.replace("{namespace}", "default").replace("{path}", "x")
        if "/proxy" not in path:
            query = "ports=80" if path.endswith("portforward") else "stdout=true&command=ls"
            fields = Headers({"connection": "Upgrade", "upgrade": "SPDY/3.1", "user-agent": "tests/1"})
            request = Request(endpoint.method, path.replace("{name}", "p"), query, fields)
            async with self._api.transport.open_upgrade(request) as (response, _):
                assert response.status == 101, response
            return
        names = {"pods": f"p:{self._pod_port}", "services": "s:web", "nodes": "n"}
        path = path.replace("{name}", names[path.split("/proxy")[0].split("/")[-2]])
        response = await self._api.call(endpoint.method, path)
        # Without a path behind it a proxy sends browsers to its root, so that relative links work.
        redirects = path.endswith("/proxy") and endpoint.method in ("GET", "HEAD")
        assert response.status == (301 if redirects else 201), (response.status, response.body)

    async def _post(self, endpoint: Endpoint) -> None:
        parent = endpoint.path.partition("/{name}")[0]
        name = "{none}"
        if parent != endpoint.path:
            name = await self._create(parent, self._kind_of(parent))
        body = self._example(endpoint)
        if endpoint.kind == "Binding":
            name = name if parent != endpoint.path else await self._create(PODS, ("v1", "Pod"))
        if endpoint.kind in ("Binding", "Eviction"):
            body["metadata"]["name"] = name
        path = endpoint.path.replace("{namespace}", "default").replace("{name}", name)
        response = await self._api.call("POST", path, body)
        assert response.status == 201, (response.status, response.body)
        self._check_kind(
            decoded(response), "Status" if endpoint.kind in ("Binding", "Eviction") else endpoint.kind, path
        )

    async def _get(self, endpoint: Endpoint) -> Object:
        path = await self._made(endpoint)
        found = await self._api.ok("GET", path)
        self._check_kind(found, endpoint.kind, path)
        return found

    async def _list(self, endpoint: Endpoint) -> None:
        if endpoint.kind != "ComponentStatus":
            await self._create(*self._collection(endpoint))
        path = endpoint.path.replace("{namespace}", "default")
        found = await self._api.ok("GET", path)
        self._check_kind(found, f"{endpoint.kind}List", path)
        assert found["items"], "nothing is listed"

    async def _put(self, endpoint: Endpoint) -> None:
        path = await self._made(endpoint)
        is_main = path.count("/") == endpoint.path.count("/") and endpoint.path.endswith("{name}")
        # A namespace is only ever finalized by what removes its finalizers; that cannot be read.
        found = await self._api.ok("GET", path.removesuffix("/finalize"))
        found["metadata"].setdefault("labels", {})["changed"] = "yes"
        answer = await self._api.ok("PUT", path, found)
        self._check_kind(answer, endpoint.kind, path)
        if is_main:
            assert answer["metadata"]["labels"]["changed"] == "yes", answer

    async def _patch(self, endpoint: Endpoint) -> None:
        path = await self._made(endpoint)
        body = {"metadata": {"labels": {"changed": "yes"}}}
        answer = await self._api.ok("PATCH", path, body, content_type=MERGE)
        self._check_kind(answer, endpoint.kind, path)
        if endpoint.path.endswith("{name}"):
            assert answer["metadata"]["labels"]["changed"] == "yes", answer

    async def _delete(self, endpoint: Endpoint) -> None:
        path = await self._made(endpoint)
        answer = await self._api.ok("DELETE", path)
        assert answer["kind"] in ("Status", endpoint.kind), answer
        left = await self._api.call("GET", path)
        assert left.status == 404 or decoded(left)["metadata"]["deletionTimestamp"], left.body

    async def _deletecollection(self, endpoint: Endpoint) -> None:
        path = (await self._made(endpoint)).rpartition("/")[0]
        # Only the walk's own: among the others are those that the server needs, or makes again.
        answer = await self._api.ok("DELETE", f"{path}?labelSelector={Examples.label}={self._examples.number}")
        assert answer["kind"] in ("Status", f"{endpoint.kind}List"), answer
        left = await self._api.ok("GET", f"{path}?labelSelector={Examples.label}={self._examples.number}")
        assert all("deletionTimestamp" in one["metadata"] for one in left["items"]), left

    async def _made(self, endpoint: Endpoint) -> str:
        """Make an object; return the endpoint's path with its name."""
        if endpoint.kind == "ComponentStatus":
            return endpoint.path.replace("{name}", "etcd-0")
        collection, kind = self._collection(endpoint)
        name = await self._create(collection, kind)
        path = endpoint.path if "{name}" in endpoint.path else f"{endpoint.path}/{{name}}"
        return path.replace("{namespace}", "default").replace("{name}", name)

    def _collection(self, endpoint: Endpoint) -> tuple[str, tuple[str, str]]:
        path = endpoint.path.partition("/{name}")[0]
        kind = self._kind_of(path)
        if endpoint.action == "list" and self._api.server.parts.scheme.find_kind(*kind).namespaced:  # type: ignore[union-attr]
            path = f"{re.sub('/namespaces/{namespace}', '', path)}".rpartition("/")[0]
            path = f"{path}/namespaces/default/{endpoint.path.rpartition('/')[2]}"
        return path.replace("{namespace}", "default"), kind

    def _kind_of(self, path: str) -> tuple[str, str]:
        parts = path.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        resource = self._api.server.parts.scheme.find(group, version, parts[-1])
        assert resource is not None, f"{path} is not served"
        return resource.api_version, resource.kind

    async def _create(self, path: str, kind: tuple[str, str]) -> str:
        response = await self._api.call("POST", path.replace("{namespace}", "default"), self._examples.of(*kind))
        assert response.status == 201, (path, response.status, response.body)
        name: str = decoded(response)["metadata"]["name"]
        return name

    def _example(self, endpoint: Endpoint) -> Object:
        group = endpoint.group
        found = [one for one in self._examples.versions_of(endpoint.kind) if one == group or "{name}" in endpoint.path]
        # What is off by default has no example: it is refused whatever comes.
        return self._examples.of(found[0], endpoint.kind) if found else {"apiVersion": group, "kind": endpoint.kind}

    def _check_kind(self, obj: Object, kind: str, path: str) -> None:
        assert obj.get("kind") == kind, (path, obj)


def report(results: Sequence[Result]) -> str:
    """Return the results as a document."""
    rows = {}
    for result in results:
        row = rows.setdefault(result.endpoint.group, dict.fromkeys(("stable", "beta", "alpha", "served"), 0))
        row[result.endpoint.level] += 1
        row["served"] += not result.why
    total = {key: sum(row[key] for row in rows.values()) for key in ("stable", "beta", "alpha", "served")}
    expected = [one for one in results if one.endpoint.is_expected]
    served = sum(not one.why for one in expected)
    lines = [
        "# The API that is served",
        "",
        "Every endpoint that Kubernetes v1.37 lists, called with its verb and a good body against this server: `scripts/coverage` does",
        "that and writes this page. Served means: the right status code, the right kind, and the effect that was asked for.",
        "",
        f"Of the {len(expected)} endpoints that upstream serves by default, {served} are served.",
        "",
        "| group | stable | beta | alpha | served |",
        "|---|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {name} | {row['stable']} | {row['beta']} | {row['alpha']} | {row['served']} |"
        for name, row in sorted(rows.items(), key=lambda item: (item[0] == "other paths", item[0]))
    ]
    lines += [f"| all | {total['stable']} | {total['beta']} | {total['alpha']} | {total['served']} |", ""]
    lines += [
        "Beta and alpha versions are off by default, as upstream's are (KEP-3136). Listed as stable, and off all the same:",
        "",
        *(f"- `{path}`: {why}" for path, why in OFF_BY_DEFAULT.items()),
        "- `/logs/` and below: served once `--enable-logs-handler` says so, as upstream does; the walk says so.",
        "",
    ]
    missing = [one for one in expected if one.why]
    if missing:
        lines += ["Missing:", "", *(f"- {one.endpoint.method} `{one.endpoint.path}`" for one in missing), ""]
    return "\n".join(lines)
