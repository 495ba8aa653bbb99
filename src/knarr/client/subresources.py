"""Subresources that have an own shape: binding, eviction, scale, tokens, logs, and the streams of a pod."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from lightkube.models import authentication_v1, autoscaling_v1, core_v1, meta_v1, policy_v1

from knarr.client.client import Client, DeleteOptions, PatchType
from knarr.client.errors import BadAnswer
from knarr.client.kinds import Kind
from knarr.kit.http.messages import ByteStream, Response, Streamed

_scale = msgspec.json.Decoder(autoscaling_v1.Scale)
_token = msgspec.json.Decoder(authentication_v1.TokenRequest)


async def bind(client: Client, pod: core_v1.Pod, node_name: str) -> None:
    """Assign a pod to a node.

    Raises:
        Conflict: it is assigned already, or was deleted and made anew.
    """
    assert pod.metadata is not None
    meta = pod.metadata
    body = core_v1.Binding(
        metadata=meta_v1.ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid),
        target=core_v1.ObjectReference(kind="Node", name=node_name),
    )
    await _post(client, core_v1.Pod, meta.namespace or "", meta.name or "", "binding", body)


async def evict(client: Client, namespace: str, name: str, *, options: DeleteOptions | None = None) -> None:
    """Ask for a pod to go, as far as disruption budgets allow.

    Raises:
        TooManyRequests: a disruption budget forbids it now.
    """
    body = policy_v1.Eviction(metadata=meta_v1.ObjectMeta(name=name, namespace=namespace))
    data = options.to_body() if options is not None else b""
    if data:
        body.deleteOptions = msgspec.json.decode(data, type=meta_v1.DeleteOptions)
    await _post(client, core_v1.Pod, namespace, name, "eviction", body)


async def get_scale(client: Client, kind: type[Any] | Kind[Any], namespace: str, name: str) -> autoscaling_v1.Scale:
    """Read how many replicas are wanted and there."""
    path = client.kinds.of(kind).path(namespace, name, "scale")
    return _decode_scale(await client.raw("GET", path))


async def patch_scale(
    client: Client, kind: type[Any] | Kind[Any], namespace: str, name: str, *, replicas: int
) -> autoscaling_v1.Scale:
    """Set how many replicas are wanted."""
    path = client.kinds.of(kind).path(namespace, name, "scale")
    body = msgspec.json.encode({"spec": {"replicas": replicas}})
    return _decode_scale(await client.raw("PATCH", path, body=body, content_type=PatchType.MERGE.value))


async def create_token(
    client: Client, namespace: str, service_account: str, request: authentication_v1.TokenRequest
) -> authentication_v1.TokenRequest:
    """Have a token issued for a service account."""
    response = await _post(client, core_v1.ServiceAccount, namespace, service_account, "token", request)
    try:
        return _token.decode(_whole(response))
    except msgspec.DecodeError as err:
        raise BadAnswer(f"TokenRequest: {err}") from err


@dataclass(frozen=True, slots=True)
class LogOptions:
    """Which part of a container's log.

    Attributes:
        container: Which container; empty if the pod has one.
        follow: Go on as lines are written.
        previous: The log of the instance before the last restart.
        timestamps: Put the time before each line.
        tail_lines: Only that many lines from the end.
        since_s: Only what is not older than this, in seconds.
        limit_bytes: At most that much.
    """

    container: str = ""
    follow: bool = False
    previous: bool = False
    timestamps: bool = False
    tail_lines: int | None = None
    since_s: int | None = None
    limit_bytes: int | None = None

    def to_query(self) -> dict[str, str]:
        """Return the options as query parameters."""
        values: dict[str, Any] = {
            "container": self.container,
            "follow": "true" if self.follow else "",
            "previous": "true" if self.previous else "",
            "timestamps": "true" if self.timestamps else "",
            "tailLines": self.tail_lines,
            "sinceSeconds": self.since_s,
            "limitBytes": self.limit_bytes,
        }
        return {name: str(value) for name, value in values.items() if value not in ("", None)}


@contextlib.asynccontextmanager
async def open_logs(client: Client, namespace: str, pod: str, options: LogOptions) -> AsyncIterator[Streamed]:
    """Read a container's log as it comes."""
    path = client.kinds.of(core_v1.Pod).path(namespace, pod, "log")
    async with client.caller.open_stream("GET", path, query=options.to_query()) as streamed:
        yield streamed


@dataclass(frozen=True, slots=True)
class ExecOptions:
    """What to run, or to attach to.

    Attributes:
        command: The command; empty for attach.
        container: Which container; empty if the pod has one.
        stdin: Give it an input.
        stdout: Take its output.
        stderr: Take its errors; not with a terminal.
        tty: Give it a terminal.
    """

    command: Sequence[str] = ()
    container: str = ""
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    tty: bool = False

    def to_query(self) -> list[tuple[str, str]]:
        """Return the options as query parameters."""
        query = [("command", word) for word in self.command]
        if self.container:
            query.append(("container", self.container))
        flags = {"stdin": self.stdin, "stdout": self.stdout, "stderr": self.stderr and not self.tty, "tty": self.tty}
        return query + [(name, "true") for name, wanted in flags.items() if wanted]


@contextlib.asynccontextmanager
async def open_pod_stream(
    client: Client,
    namespace: str,
    pod: str,
    subresource: str,
    *,
    query: Sequence[tuple[str, str]],
    headers: Sequence[tuple[str, str]],
    method: str = "GET",
) -> AsyncIterator[tuple[Response, ByteStream]]:
    """Open exec, attach or portforward and give the switched connection.

    Args:
        client: The client.
        namespace: Where the pod is.
        pod: Its name.
        subresource: "exec", "attach" or "portforward".
        query: `ExecOptions.to_query()`, or the ports.
        headers: The upgrade's headers, as `kit.websocket` or `kit.spdy` makes them.
        method: GET for WebSocket, POST for SPDY.
    """
    path = client.kinds.of(core_v1.Pod).path(namespace, pod, subresource)
    async with client.caller.open_upgrade(method, path, query=query, headers=headers) as upgraded:
        yield upgraded


async def _post(client: Client, kind: type[Any], namespace: str, name: str, subresource: str, body: Any) -> Response:
    path = client.kinds.of(kind).path(namespace, name, subresource)
    return await client.raw("POST", path, body=msgspec.json.encode(body))


def _whole(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def _decode_scale(response: Response) -> autoscaling_v1.Scale:
    try:
        return _scale.decode(_whole(response))
    except msgspec.DecodeError as err:
        raise BadAnswer(f"Scale: {err}") from err
