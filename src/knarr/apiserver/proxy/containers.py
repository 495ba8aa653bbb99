"""pods/log, exec, attach and portforward: passed on to the agent of the pod's node.

Source: pkg/registry/core/pod/{strategy.go,rest/subresources.go,rest/log.go} (v1.37).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote, urlencode

from knarr.api import errors, field
from knarr.apiserver import options, websockets
from knarr.apiserver.authz.authorizer import forbidden
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.proxy import connecting, forward
from knarr.kit.http.messages import Headers, Request, Response

Object = dict[str, Any]

_LOG_FLAGS = ("follow", "previous", "timestamps", "insecureSkipTLSVerifyBackend")
_LOG_NUMBERS = ("sinceSeconds", "tailLines", "limitBytes")
_STREAMS = {"stdin": "input", "stdout": "output", "stderr": "error", "tty": "tty"}
_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}


async def serve_log(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with the log of a container."""
    given = log_options(call.values)
    pod = _pod(parts, target)
    container = choose_container(pod, options.text(call.values, "container"))
    node = (pod.get("spec") or {}).get("nodeName")
    fields = Headers.from_lower([("content-type", "text/plain"), ("cache-control", "no-cache, private")])
    if not node:
        return websockets.wrap_log(call.request, Response(200, fields, b""))
    path = _path("containerLogs", target, container)
    request = Request("GET", path, urlencode(given), Headers())
    response = await forward.stream(parts.node_agents.client(node), request)
    if response.status == 200:
        return websockets.wrap_log(call.request, Response(200, fields, response.body))
    raise await _agent_error(response, "pods/log", target)


async def serve_stream(parts: Parts, call: Call, target: Target) -> Response:
    """Connect the caller to a container or to a pod's ports."""
    kind = target.subresource
    await _require_create(parts, call)
    given = _stream_options(call, kind)
    await connecting.admit(parts, call, target, kind, given)
    pod = _pod(parts, target)
    container = "" if kind == "portforward" else choose_container(pod, options.text(call.values, "container"))
    node = (pod.get("spec") or {}).get("nodeName")
    if not node:
        raise errors.BadRequest(f"pod {target.name} does not have a host assigned")
    if not forward.is_upgrade(call.request):
        raise errors.BadRequest("Upgrade request required")
    if kind == "portforward":
        path, query = _path("portForward", target), urlencode([("port", str(port)) for port in given.get("ports", ())])
    else:
        path, query = _path(kind, target, container), urlencode(_stream_query(call.values))
    sent = Request(call.request.method, path, query, call.request.headers, call.request.body)
    return await forward.upgrade(parts.node_agents.client(node), sent)


async def _require_create(parts: Parts, call: Call) -> None:
    """Make sure that who opens a stream by GET, as WebSockets do, may create it as well: it is no reading.

    Raises:
        Forbidden: The caller may not.
    """
    if call.info.verb == "create":
        return
    asked = replace(call.info, verb="create")
    decision = await parts.authorizer.decide(call.user, asked)
    if not decision.allowed:
        raise forbidden(call.user, asked, decision.reason)


def choose_container(pod: Object, name: str) -> str:
    """Return the container that is meant.

    Raises:
        BadRequest: there is no such one, or several and none is named.
    """
    spec, pod_name = pod.get("spec") or {}, pod["metadata"]["name"]
    by_kind = {kind: _names(spec.get(kind)) for kind in ("containers", "initContainers", "ephemeralContainers")}
    if name:
        if not any(name in names for names in by_kind.values()):
            raise errors.BadRequest(f"container {name} is not valid for pod {pod_name}")
        return name
    if len(by_kind["containers"]) == 1:
        return by_kind["containers"][0]
    message = f"a container name must be specified for pod {pod_name}"
    if by_kind["containers"]:
        message += f", choose one of: {_listed(by_kind['containers'])}"
    if by_kind["initContainers"]:
        message += f" or one of the init containers: {_listed(by_kind['initContainers'])}"
    if by_kind["ephemeralContainers"]:
        message += f" or one of the ephemeral containers: {_listed(by_kind['ephemeralContainers'])}"
    raise errors.BadRequest(message)


def log_options(values: options.Values) -> list[tuple[str, str]]:
    """Read PodLogOptions and return them as the agent's query.

    Raises:
        BadRequest: a number is none.
        Invalid: they contradict each other.
    """
    given: list[tuple[str, str]] = [(name, "true") for name in _LOG_FLAGS[:3] if options.flag(values, name)]
    problems = []
    for name in _LOG_NUMBERS:
        number = options.integer(values, name)
        if number is None:
            continue
        least = 0 if name == "tailLines" else 1
        if number < least:
            words = f"must be greater than or equal to {least}" if least == 0 else "must be greater than 0"
            problems.append(field.invalid(field.Path(name), number, words))
        given.append((name, str(number)))
    since = options.text(values, "sinceTime")
    if since:
        if any(name == "sinceSeconds" for name, _ in given):
            words = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            problems.append(field.forbidden(field.Path(""), words))
        given.append(("sinceTime", since))
    stream = options.text(values, "stream")
    if stream:
        if stream not in ("All", "Stdout", "Stderr"):
            problems.append(field.not_supported(field.Path("stream"), stream, ["All", "Stderr", "Stdout"]))
        elif stream != "All" and "tailLines" in values:
            words = "`tailLines` and specific `stream` are mutually exclusive for now"
            problems.append(field.forbidden(field.Path("tailLines"), words))
        given.append(("stream", stream))
    if problems:
        raise errors.Invalid("", "PodLogOptions", "", problems)
    return given


def _stream_options(call: Call, kind: str) -> Object:
    values = call.values
    given: Object = {"kind": _KINDS[kind], "apiVersion": "v1"}
    if kind == "portforward":
        given["ports"] = [_port(port) for text in values.get("ports", ()) for port in text.split(",")]
        return given
    for name in _STREAMS:
        if options.flag(values, name):
            given[name] = True
    if "container" in values:
        given["container"] = options.text(values, "container")
    if kind == "exec":
        given["command"] = list(values.get("command", ()))
    return given


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:6]) < 65536:
        raise errors.BadRequest(f"unable to parse {text[:64]!r} as a port")
    return int(text)


def _stream_query(values: options.Values) -> list[tuple[str, str]]:
    query = [(sent, "1") for name, sent in _STREAMS.items() if options.flag(values, name)]
    return query + [("command", word) for word in values.get("command", ())]


def _pod(parts: Parts, target: Target) -> Object:
    pod = parts.registry.get(target.stored, target.namespace, target.name)
    if pod is None:
        raise target.not_found()
    return pod


def _path(kind: str, target: Target, container: str = "") -> str:
    words = [kind, target.namespace, target.name, *([container] if container else [])]
    return "/" + "/".join(quote(word, safe="") for word in words)


async def _agent_error(response: Response, resource: str, target: Target) -> errors.StatusError:
    """Translate what the agent refused into a Status."""
    body = response.body if isinstance(response.body, bytes) else await _whole(response.body)
    text = body[:2048].decode(errors="replace").strip()
    if response.status == 404:
        error: errors.StatusError = errors.NotFound("", resource, target.name)
        error.message = f"the server could not find the requested resource ( {resource} {target.name})"
        return error
    if response.status == 400:
        return errors.BadRequest(text)
    error = errors.InternalError(text or f"the node agent answered {response.status}")
    error.message = (
        f"an error on the server ({text!r}) has prevented the request from succeeding ( {resource} {target.name})"
    )
    return error


async def _whole(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def _names(containers: Sequence[Object] | None) -> list[str]:
    return [container.get("name", "") for container in containers or ()]


def _listed(names: Sequence[str]) -> str:
    return f"[{' '.join(names)}]"
