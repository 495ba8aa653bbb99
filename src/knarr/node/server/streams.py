"""`/exec`, `/attach` and `/portForward`: SPDY clients are joined to the runtime's streaming server, WebSocket ones are translated.

Source: pkg/kubelet/server/server.go getExec, getAttach, getPortForward; KEP-4006 (v1.37).
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping

from knarr.kit.http import errors as http_errors
from knarr.kit.http import websocket
from knarr.kit.http.messages import ByteStream, Headers, Request, Response
from knarr.node.pods import spec as specs
from knarr.node.pods.worker import Worker
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import ContainerState, Streams
from knarr.node.server.errors import Declined
from knarr.node.streaming import backend, portforward, remotecommand

Query = Mapping[str, list[str]]
Serve = Callable[[ByteStream, ByteStream], Awaitable[None]]


async def respond_exec(request: Request, worker: Worker, name: str, query: Query, runtime: Streams) -> Response:
    """Answer a request to run a command in a container.

    Raises:
        Declined: The container does not run, or the client asks for no stream.
    """
    stdin, stdout, stderr, tty = _wanted(query)
    command = query.get("command") or []
    container_id = running_id(worker, name)
    try:
        url = await runtime.exec_url(
            container_id, command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty
        )
    except RuntimeFailure as err:
        raise Declined(500, f"error executing command in container: {err}\n") from err
    return await _remote_command(request, url, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)


async def respond_attach(request: Request, worker: Worker, name: str, query: Query, runtime: Streams) -> Response:
    """Answer a request to attach to a container's main process.

    Raises:
        Declined: As `respond_exec`.
    """
    stdin, stdout, stderr, _ = _wanted(query)
    container = specs.find_container(worker.pod, name)
    tty = bool(container is not None and container.tty)
    container_id = running_id(worker, name)
    try:
        url = await runtime.attach_url(container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr and not tty)
    except RuntimeFailure as err:
        raise Declined(500, f"error attaching to container: {err}\n") from err
    return await _remote_command(request, url, stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)


async def respond_port_forward(request: Request, worker: Worker, query: Query, runtime: Streams) -> Response:
    """Answer a request for connections into a pod.

    Raises:
        Declined: The pod has no sandbox, or the client asks for no stream.
    """
    ports = _ports(query)
    sandbox = next((s for s in worker.observed.sandboxes if s.ready), None)
    if sandbox is None:
        raise Declined(500, f"pod {specs.format_pod(worker.pod)} has no running sandbox\n")
    try:
        url = await runtime.port_forward_url(sandbox.id, ports)
    except RuntimeFailure as err:
        raise Declined(500, f"error forwarding ports: {err}\n") from err
    if not websocket.is_websocket(request):
        return await _join(request, url)
    chosen = websocket.choose(request, (portforward.TUNNEL, *portforward.CHANNELS))
    if chosen is None and websocket.offered(request):
        raise Declined(403, _unknown_protocol(request, (portforward.TUNNEL, *portforward.CHANNELS)))
    if chosen == portforward.TUNNEL:
        serve: Serve = portforward.tunnel
    else:

        async def serve(client: ByteStream, runtime_side: ByteStream) -> None:
            await portforward.channels(client, runtime_side, ports, protocol=chosen or "")

    return await _translated(request, url, chosen or "", (portforward.BACKEND_PROTOCOL,), serve)


def running_id(worker: Worker, name: str) -> str:
    """Return the id of the pod's running container of that name.

    Raises:
        Declined: There is none.
    """
    for container in worker.observed.containers:
        if container.name == name and container.state is ContainerState.RUNNING:
            return container.id
    if specs.find_container(worker.pod, name) is None:
        raise Declined(404, f'container "{name}" not found in pod "{specs.name_of(worker.pod)}"\n')
    raise Declined(500, f'unable to upgrade connection: container not found ("{name}")')


async def _remote_command(
    request: Request, url: str, *, stdin: bool, stdout: bool, stderr: bool, tty: bool
) -> Response:
    if not websocket.is_websocket(request):
        return await _join(request, url)
    chosen = websocket.choose(request, remotecommand.PROTOCOLS)
    if chosen is None and websocket.offered(request):
        raise Declined(403, _unknown_protocol(request, remotecommand.PROTOCOLS))
    channels = remotecommand.wanted_channels(stdin=stdin, stdout=stdout, stderr=stderr, tty=tty)

    async def serve(client: ByteStream, runtime_side: ByteStream) -> None:
        await remotecommand.translate(client, runtime_side, channels, protocol=chosen or "channel.k8s.io")

    return await _translated(request, url, chosen or "", remotecommand.BACKEND_PROTOCOLS, serve)


async def _join(request: Request, url: str) -> Response:
    """Join a SPDY client to the runtime: both speak the same."""
    if (request.headers.get("upgrade") or "").upper() != backend.SPDY:
        raise Declined(400, "unable to upgrade: missing upgrade headers in request\n")
    protocols = request.headers.get_all(backend.PROTOCOL_HEADER)
    return await _upgraded(url, protocols, lambda answer: answer.headers, backend.splice)


async def _translated(request: Request, url: str, chosen: str, protocols: tuple[str, ...], serve: Serve) -> Response:
    return await _upgraded(url, protocols, lambda _: websocket.accept_headers(request, chosen), serve)


async def _upgraded(
    url: str, protocols: list[str] | tuple[str, ...], headers: Callable[[Response], Headers], serve: Serve
) -> Response:
    """Connect to the runtime first, so that its refusal reaches the client as an ordinary answer."""
    stack = contextlib.AsyncExitStack()
    try:
        answer, runtime_side = await stack.enter_async_context(backend.open_spdy(url, protocols))
    except http_errors.UpgradeRefused as err:
        return err.response
    except http_errors.HttpError as err:
        raise Declined(500, f"unable to upgrade connection: {err}\n") from err

    async def upgrade(client: ByteStream) -> None:
        async with stack:
            await serve(client, runtime_side)

    return Response(101, headers(answer), b"", upgrade)


def _wanted(query: Query) -> tuple[bool, bool, bool, bool]:
    """Return whether stdin, stdout, stderr and a terminal are asked for."""
    stdin, stdout = _flag(query, "input", "stdin"), _flag(query, "output", "stdout")
    stderr, tty = _flag(query, "error", "stderr"), _flag(query, "tty", "tty")
    if not (stdin or stdout or stderr):
        raise Declined(400, "you must specify at least 1 of stdin, stdout, stderr\n")
    return stdin, stdout, stderr, tty


def _flag(query: Query, *names: str) -> bool:
    return any((query.get(name) or [""])[0].lower() in ("1", "true") for name in names)


def _ports(query: Query) -> list[int]:
    found = []
    for text in query.get("port") or query.get("ports") or []:
        for word in text.split(","):
            if not word.isdigit() or not 0 < int(word) < 1 << 16:
                raise Declined(400, f'port "{word}" is not a port number\n')
            found.append(int(word))
    return found


def _unknown_protocol(request: Request, known: tuple[str, ...]) -> str:
    offered = websocket.offered(request)
    return f"unable to upgrade: unable to negotiate protocol: client supports {offered}, server accepts {list(known)}"
