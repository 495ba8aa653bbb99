import pytest

from knarr.apiserver import requestinfo

# (method, path, query) -> (verb, group, version, namespace, resource, subresource, name)
CASES = [
    ("GET", "/api/v1/pods", "", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods", "watch=true", ("watch", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/pods", "watch=0", ("list", "", "v1", "", "pods", "", "")),
    ("GET", "/api/v1/namespaces", "", ("list", "", "v1", "", "namespaces", "", "")),
    ("GET", "/api/v1/namespaces/x", "", ("get", "", "v1", "x", "namespaces", "", "x")),
    ("PUT", "/api/v1/namespaces/x/finalize", "", ("update", "", "v1", "x", "namespaces", "finalize", "x")),
    ("GET", "/api/v1/namespaces/x/pods/p/log", "", ("get", "", "v1", "x", "pods", "log", "p")),
    ("DELETE", "/apis/apps/v1/namespaces/x/deployments", "", ("deletecollection", "apps", "v1", "x", "deployments", "", "")),
    ("DELETE", "/apis/apps/v1/namespaces/x/deployments/d", "", ("delete", "apps", "v1", "x", "deployments", "", "d")),
    ("GET", "/api/v1/watch/namespaces/x/pods/p", "", ("watch", "", "v1", "x", "pods", "", "p")),
    ("HEAD", "/api/v1/nodes/n", "", ("get", "", "v1", "", "nodes", "", "n")),
    ("PATCH", "/api/v1/nodes/n/status", "", ("patch", "", "v1", "", "nodes", "status", "n")),
    ("GET", "/api/v1/pods", "fieldSelector=metadata.name%3Dp", ("list", "", "v1", "", "pods", "", "p")),
    ("GET", "/api/v1/namespaces/x/services/https:web:80/proxy/a/b", "", ("get", "", "v1", "x", "services", "proxy", "https:web:80")),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "query", "expected"), CASES)
def test_resource_request(method: str, path: str, query: str, expected: tuple[str, ...]) -> None:
    info = requestinfo.parse(method, path, query)
    found = (info.verb, info.group, info.version, info.namespace, info.resource, info.subresource, info.name)
    assert info.is_resource_request
    assert found == expected


@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/healthz", "/openapi/v3"]
)
def test_other_paths_are_no_resource_requests(path: str) -> None:
    info = requestinfo.parse("GET", path)
    assert (info.is_resource_request, info.verb, info.path) == (False, "get", path)
