"""One question to a container: by HTTP, TCP, a command inside, or gRPC's health service.

Source: pkg/probe/{http,tcp,exec,grpc}, pkg/kubelet/prober/prober.go (v1.37).
"""

import asyncio
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from grpclib.client import Channel
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.health.v1 import health_pb2
from lightkube.models import core_v1

from knarr.kit.http import client as http_client
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request
from knarr.node.pods.env import expand
from knarr.node.pods.spec import ContainerSpec
from knarr.node.runtime.errors import ExecTimeout, RuntimeFailure
from knarr.node.runtime.runtime import Runtime

MAX_BODY_BYTES = 10 * 1024
USER_AGENT = "kube-probe/1.37"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a container answered.

    Attributes:
        ok: Whether it passed.
        output: What it said, for the event; or why it said nothing.
    """

    ok: bool
    output: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask.

    Attributes:
        container: Its spec, for named ports.
        id: Its id in the runtime.
        ip: The pod's address.
    """

    container: ContainerSpec
    id: str
    ip: str


async def ask(runtime: Runtime, target: Target, probe: core_v1.Probe) -> Answer:
    """Ask once, within the probe's timeout."""
    timeout_s = probe.timeoutSeconds or 1
    if probe.exec is not None:
        return await ask_exec(runtime, target, probe.exec.command or [], timeout_s=timeout_s)
    if probe.httpGet is not None:
        return await ask_http(target, probe.httpGet, timeout_s=timeout_s)
    if probe.tcpSocket is not None:
        host = probe.tcpSocket.host or target.ip
        return await ask_tcp(host, resolve_port(target.container, probe.tcpSocket.port), timeout_s=timeout_s)
    if probe.grpc is not None:
        return await ask_grpc(target.ip, probe.grpc.port, probe.grpc.service or "", timeout_s=timeout_s)
    return Answer(ok=False, output=f"missing probe handler for {target.container.name}")


def resolve_port(container: ContainerSpec, port: int | str) -> int:
    """Return a port by its number or its name in the container's spec; 0 if there is none."""
    if isinstance(port, int):
        return port
    if port.isdigit():
        return int(port)
    return next((entry.containerPort for entry in container.ports or [] if entry.name == port), 0)


async def ask_exec(runtime: Runtime, target: Target, command: list[str], *, timeout_s: int) -> Answer:
    """Run a command in the container; it passes with exit code 0."""
    words = [expand(word, {}) for word in command]
    try:
        result = await runtime.exec_sync(target.id, words, timeout_s=timeout_s)
    except ExecTimeout:
        return Answer(ok=False, output=f'command timed out: "{" ".join(words)}" timed out after {timeout_s}s')
    except RuntimeFailure as err:
        return Answer(ok=False, output=str(err))
    text = (result.stdout + result.stderr)[:MAX_BODY_BYTES].decode(errors="replace")
    return Answer(ok=result.exit_code == 0, output=text)


async def ask_http(target: Target, action: core_v1.HTTPGetAction, *, timeout_s: float) -> Answer:
    """Send a GET; it passes with a status of 200 to 399."""
    request, url = to_request(target, action)
    try:
        status, _ = await get(url, request, timeout_s=timeout_s)
    except http_errors.ResponseTimeout:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Answer(ok=False, output=f'Get "{url}{request.path}": {why}')
    except http_errors.HttpError as err:
        return Answer(ok=False, output=f'Get "{url}{request.path}": {_explain(err, url)}')
    if 200 <= status < 400:
        return Answer(ok=True)
    return Answer(ok=False, output=f"HTTP probe failed with statuscode: {status}")


async def get(url: str, request: Request, *, timeout_s: float) -> tuple[int, bytes]:
    """Send one request on a connection of its own, trusting any certificate; return status and body."""
    tls = None
    if url.startswith("https:"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        tls.check_hostname = False
        tls.verify_mode = ssl.CERT_NONE
    timeouts = http_client.Timeouts(connect_s=timeout_s, response_s=timeout_s)
    client = http_client.Client(url, tls=tls, timeouts=timeouts, max_idle=0)
    try:
        async with client.open_stream(request) as answer:
            return answer.status, b""
    finally:
        await client.aclose()


def to_request(target: Target, action: core_v1.HTTPGetAction) -> tuple[Request, str]:
    """Return the request of an HTTP action, and the scheme, host and port to send it to."""
    scheme = (action.scheme or "HTTP").lower()
    host = action.host or target.ip
    port = resolve_port(target.container, action.port)
    shown = f"[{host}]" if ":" in host else host
    parts = urlsplit(action.path or "/")
    path = parts.path if parts.path.startswith("/") else f"/{parts.path}"
    headers = Headers([(header.name, header.value) for header in action.httpHeaders or []])
    if "user-agent" not in headers:
        headers.set("user-agent", USER_AGENT)
    if "accept" not in headers:
        headers.set("accept", "*/*")
    headers.set("connection", "close")
    return Request("GET", path, parts.query, headers), f"{scheme}://{shown}:{port}"


async def ask_tcp(host: str, port: int, *, timeout_s: float) -> Answer:
    """Open a connection; it passes if it opens."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return Answer(ok=False, output=f"dial tcp {host}:{port}: i/o timeout")
    except OSError as err:
        return Answer(ok=False, output=f"dial tcp {host}:{port}: connect: {_words(err)}")
    writer.close()
    return Answer(ok=True)


async def ask_grpc(host: str, port: int, service: str, *, timeout_s: float) -> Answer:
    """Call grpc.health.v1.Health/Check; it passes if the service serves."""
    channel = Channel(host, port)
    try:
        async with channel.request(
            "/grpc.health.v1.Health/Check",
            Cardinality.UNARY_UNARY,
            health_pb2.HealthCheckRequest,
            health_pb2.HealthCheckResponse,
            timeout=timeout_s,
            metadata={"user-agent": USER_AGENT},
        ) as stream:
            await stream.send_message(health_pb2.HealthCheckRequest(service=service), end=True)
            reply = await stream.recv_message()
    except GRPCError as err:
        return Answer(ok=False, output=f"error: rpc error: code = {err.status.name} desc = {err.message}")
    except TimeoutError:
        return Answer(ok=False, output=f'timeout: failed to connect service "{host}:{port}" within {timeout_s}s')
    except (StreamTerminatedError, OSError) as err:
        return Answer(ok=False, output=f"error: health rpc probe failed: {err}")
    finally:
        channel.close()
    if reply is not None and reply.status == health_pb2.HealthCheckResponse.SERVING:
        return Answer(ok=True, output="service healthy")
    name = health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status) if reply is not None else "UNKNOWN"
    return Answer(ok=False, output=f'service unhealthy (responded with "{name}")')


def _explain(err: http_errors.HttpError, url: str) -> str:
    address = url.partition("://")[2]
    if isinstance(err, http_errors.ConnectRefused):
        return f"dial tcp {address}: connect: connection refused"
    if isinstance(err, http_errors.ConnectTimeout):
        return f"dial tcp {address}: i/o timeout"
    return str(err)


def _words(err: OSError) -> str:
    return "connection refused" if isinstance(err, ConnectionRefusedError) else (err.strerror or str(err)).lower()
