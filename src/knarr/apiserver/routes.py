"""What is served where: paths of resources by verb and subresource, other paths by name.

Source: k8s.io/apiserver/pkg/endpoints/installer.go, pkg/controlplane/instance.go (v1.37).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.apiserver import documents, logs, responses, version
from knarr.apiserver.aggregation import proxy
from knarr.apiserver.customresources import gate
from knarr.apiserver.health import ENDPOINTS, Health
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.proxy import backends, containers
from knarr.apiserver.subresources import binding, eviction, scale, special, virtual
from knarr.apiserver.verbs import create, delete, deletecollection, get, list, patch, update, watch
from knarr.kit.http.messages import Headers, Response

Serve = Callable[[Parts, Call, Target], Awaitable[Response]]

VERBS: Mapping[str, Serve] = {
    "get": get.serve,
    "list": list.serve,
    "watch": watch.serve,
    "create": create.serve,
    "update": update.serve,
    "patch": patch.serve,
    "delete": delete.serve,
    "deletecollection": deletecollection.serve,
}
_ON_COLLECTIONS = {"list", "watch", "create", "deletecollection"}

SUBRESOURCES: Mapping[tuple[str, str], Serve] = {
    ("pods", "binding"): binding.serve,
    ("pods", "eviction"): eviction.serve,
    ("pods", "ephemeralcontainers"): partial(special.serve_part, prepare=special.prepare_ephemeral_containers),
    ("pods", "resize"): partial(special.serve_part, prepare=special.prepare_resize),
    ("pods", "log"): containers.serve_log,
    ("pods", "exec"): containers.serve_stream,
    ("pods", "attach"): containers.serve_stream,
    ("pods", "portforward"): containers.serve_stream,
    ("pods", "proxy"): backends.serve,
    ("services", "proxy"): backends.serve,
    ("nodes", "proxy"): backends.serve,
    ("serviceaccounts", "token"): special.serve_token,
    ("namespaces", "finalize"): partial(special.serve_part, prepare=special.prepare_finalize),
    ("certificatesigningrequests.certificates.k8s.io", "approval"): partial(
        special.serve_part, prepare=special.prepare_approval
    ),
}
"""Subresources with a behaviour of their own; "status" and "scale" are the same for every kind."""


DEPRECATED: Mapping[tuple[str, str], str] = {
    ("", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}
"""What every answer about a resource warns of, by (group, plural)."""


class Routes:
    """Finds out who answers a call.

    Args:
        parts: The server's parts.
        health: Answers for the server's state.
    """

    def __init__(self, parts: Parts, health: Health) -> None:
        self._parts = parts
        self._health = health
        self._documents = documents.Documents(parts)

    async def serve(self, call: Call) -> Response:
        """Answer a call that is authorized.

        Raises:
            PathNotFound: nothing is served there.
            MethodNotAllowed: something is, but not so.
            MethodNotSupported: likewise, of a custom kind.
        """
        info = call.info
        remote = self._parts.registrations.find(info.path)
        if remote is not None:
            return await proxy.serve(self._parts, call, remote)
        if not info.is_resource_request:
            return await self._serve_path(call)
        scheme = self._parts.scheme
        resource = scheme.find(info.group, info.version, info.resource)
        if resource is None or (info.prefix == "api") != (info.group == ""):
            raise errors.PathNotFound
        namespace = info.namespace if resource.namespaced or resource.plural == "namespaces" else ""
        if info.namespace and not namespace:
            raise errors.PathNotFound
        if resource.plural == "namespaces":
            namespace = ""
        if resource.custom:
            gate.check(self._parts.custom, call, resource)
        serve = self._find(call, resource)
        warning = DEPRECATED.get((info.group, info.resource))
        if warning is not None:
            call.warnings.append(warning)
        name = info.parts[1] if len(info.parts) > 1 else ""
        stored = resource if resource.custom else scheme.stored(resource)
        target = Target(resource, stored, info.subresource, namespace, name)
        return await serve(self._parts, call, target)

    def _find(self, call: Call, resource: Resource) -> Serve:
        info = call.info
        name = info.parts[1] if len(info.parts) > 1 else ""
        if info.subresource:
            return _find_subresource(call, resource)
        is_on_collection = info.verb in _ON_COLLECTIONS
        if len(info.parts) > 2 or (is_on_collection == bool(name) and info.verb != "watch"):
            raise _not_supported(call, resource)
        if resource.namespaced and not info.namespace:
            if name:
                raise errors.PathNotFound
            if info.verb not in ("list", "watch") and resource.is_stored:
                raise _not_supported(call, resource)
        if info.verb not in resource.verbs:
            raise _not_supported(call, resource)
        return VERBS[info.verb] if resource.is_stored else virtual.serve

    async def _serve_path(self, call: Call) -> Response:
        path = call.info.path.rstrip("/") or "/"
        if call.request.method not in ("GET", "HEAD"):
            if self._is_known(path):
                raise errors.MethodNotAllowed
            raise errors.PathNotFound
        first = path.split("/")[1]
        if first in ENDPOINTS:
            found = self._health.serve(path, call.request.query)
        elif first in ("api", "apis", "openapi"):
            found = await self._documents.serve(call, path)
        else:
            found = await self._serve_single(call, path)
        if found is None:
            raise errors.PathNotFound
        return found

    async def _serve_single(self, call: Call, path: str) -> Response | None:
        issuer = self._parts.issuer
        match path:
            case "/":
                return await responses.send_object(call, {"paths": self._paths()})
            case "/version":
                return await responses.send_object(call, version.info())
            case "/metrics":
                return self._parts.metrics.to_response()
            case "/metrics/slis":
                return self._health.slis.to_response()
            case "/openid/v1/jwks":
                return _typed(await responses.send_object(call, issuer.jwks()), "application/jwk-set+json")
            case "/.well-known/openid-configuration":
                return await responses.send_object(call, issuer.openid_configuration())
        if self._serves_logs(path):
            assert self._parts.config.logs_dir is not None
            return await logs.serve(self._parts.config.logs_dir, call.info.path)
        return None

    def _serves_logs(self, path: str) -> bool:
        return self._parts.config.logs_dir is not None and path.split("/")[1] == "logs"

    def _paths(self) -> Sequence[str]:
        found = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        for group, versions in self._parts.scheme.groups().items():
            if group:
                found += [f"/apis/{group}", *(f"/apis/{group}/{one}" for one in versions)]
        found += [f"/{endpoint}" for endpoint in ENDPOINTS]
        found += ["/logs"] if self._parts.config.logs_dir is not None else []
        found += ["/metrics", "/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/version"]
        return sorted(found)

    def _is_known(self, path: str) -> bool:
        return (
            path in self._paths()
            or path.split("/")[1] in (*ENDPOINTS, "api", "apis", "openapi")
            or self._serves_logs(path)
        )


def _find_subresource(call: Call, resource: Resource) -> Serve:
    info = call.info
    sub = resource.subresource(info.subresource)
    if sub is None or (resource.namespaced and not info.namespace):
        raise errors.PathNotFound
    if sub.name == "proxy":
        return backends.serve
    if len(info.parts) > 3:
        raise errors.PathNotFound
    if info.verb not in sub.verbs:
        raise _not_supported(call, resource)
    if sub.name == "scale":
        return scale.serve
    found = SUBRESOURCES.get((resource.qualified, sub.name))
    if found is not None:
        return found
    serve = VERBS.get(info.verb)
    if sub.name != "status" or serve is None:
        raise errors.PathNotFound
    return serve


def _not_supported(call: Call, resource: Resource) -> errors.StatusError:
    info = call.info
    if not resource.custom:
        return errors.MethodNotAllowed()
    return errors.MethodNotSupported(info.group, info.resource, info.verb or call.request.method)


def _typed(response: Response, content_type: str) -> Response:
    fields = Headers(item for item in response.headers if item[0] != "content-type")
    fields.add("content-type", content_type)
    return Response(response.status, fields, response.body)
