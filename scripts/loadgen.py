"""A load generator that is no bottleneck: wrk for what is one request again and again, lean Python for what needs thought.

wrk (C, LuaJIT) takes a tenth of a core for what keeps an API server busy; watchers are one process with epoll and non-blocking TLS that
only counts lines; conflicts and deletions go over a few keep-alive connections. Only answers with the right status count.
"""

import json
import os
import selectors
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CONNECTIONS = 16
CHUNK_BYTES = 1 << 20

_SCRIPT = """
local token = "%(token)s"
local json = {["Authorization"] = "Bearer " .. token, ["Accept"] = "application/json"}
local function with(kind)
  return {["Authorization"] = "Bearer " .. token, ["Accept"] = "application/json", ["Content-Type"] = kind}
end
local n = %(first)d
local types = {%(types)s}
local bodies = {%(bodies)s}
local paths = {%(paths)s}
local methods = {%(methods)s}
local headers = {}
for i, kind in ipairs(types) do headers[i] = with(kind) end
request = function()
  n = n + 1
  local i = (n - 1) %% #paths + 1
  local path = paths[i]:gsub("@N", n):gsub("@M", n %% %(modulo)d)
  return wrk.format(methods[i], path, headers[i], (bodies[i]:gsub("@N", n):gsub("@M", n %% %(modulo)d)))
end
done = function(summary, latency)
  local e = summary.errors
  io.stderr:write(string.format(
    '{"requests":%%d,"us":%%d,"bytes":%%d,"failed":%%d,"broken":%%d,"p50_us":%%d,"p99_us":%%d}\\n',
    summary.requests, summary.duration, summary.bytes, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True)
class Call:
    """One request of a load. In path and body "@N" is a number that counts up, "@M" its rest by the load's modulo."""

    path: str
    method: str = "GET"
    body: str = ""
    content_type: str = "application/json"


@dataclass(frozen=True)
class Load:
    """What wrk sends: calls in turn.

    Attributes:
        calls: In turn.
        least_bytes: What an answer has at least: an empty list is no answer.
        modulo: See Call.
        first: Where "@N" begins, less one.
        connections: How many at once.
    """

    calls: Sequence[Call]
    least_bytes: int = 100
    modulo: int = 1
    first: int = 0
    connections: int = CONNECTIONS


@dataclass
class Result:
    """What came of a load.

    Attributes:
        rate: Good answers a second.
        p50_ms: Median time of an answer.
        p99_ms: The slowest hundredth.
        good: How many good answers there were.
        failed: How many answers had another status.
        cpu_s: What the server's processes used per 1,000 good answers, filled in by the caller.
    """

    rate: float
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    good: int = 0
    failed: int = 0
    cpu_s: float = 0.0


class BadLoad(Exception):
    """Raised when a server does not answer a load as it should."""


@dataclass(frozen=True)
class Server:
    """Where the load goes: an API server, a token for it, its authority's file."""

    host: str
    port: int
    token: str = field(repr=False)
    ca_file: Path = Path()

    def tls(self) -> ssl.SSLContext:
        """Return a context that verifies the server."""
        return ssl.create_default_context(cafile=self.ca_file)

    def connect(self) -> ssl.SSLSocket:
        """Open a connection."""
        plain = socket.create_connection((self.host, self.port), timeout=60)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.tls().wrap_socket(plain, server_hostname=self.host)


def run_wrk(server: Server, load: Load, seconds: float) -> Result:
    """Send a load for some seconds.

    Raises:
        BadLoad: Connections broke, or answers were too short.
    """
    quoted = {
        "paths": [call.path for call in load.calls],
        "methods": [call.method for call in load.calls],
        "types": [call.content_type for call in load.calls],
        "bodies": [call.body for call in load.calls],
    }
    lists = {name: ", ".join(f"[==[{value}]==]" for value in values) for name, values in quoted.items()}
    text = _SCRIPT % {"token": server.token, "first": load.first, "modulo": load.modulo, **lists}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(text)
        script.flush()
        command = ["wrk", "-t1", f"-c{load.connections}", f"-d{seconds:g}s", "--timeout", "30s", "-s", script.name]
        url = f"https://{server.host}:{server.port}"
        said = subprocess.run([*command, url], capture_output=True, text=True, check=True).stderr
    found: dict[str, int] = json.loads(said.strip().splitlines()[-1])
    good = found["requests"] - found["failed"]
    if found["broken"]:
        raise BadLoad(f"{load.calls[0].path}: {found['broken']} connections broke or timed out")
    if good <= 0:
        raise BadLoad(f"{load.calls[0].method} {load.calls[0].path}: no good answer of {found['requests']}")
    if found["bytes"] / found["requests"] < load.least_bytes:
        raise BadLoad(f"{load.calls[0].path}: {found['bytes'] / found['requests']:.0f} bytes an answer are too few")
    rate = good / found["us"] * 1e6
    return Result(rate, found["p50_us"] / 1e3, found["p99_us"] / 1e3, good, found["failed"])


class Connection:
    """One keep-alive connection that sends requests and reads whole answers."""

    def __init__(self, server: Server) -> None:
        self._socket = server.connect()
        self._stream = self._socket.makefile("rb", CHUNK_BYTES)
        self._head = f"Host: {server.host}\r\nAuthorization: Bearer {server.token}\r\nAccept: application/json\r\n"

    def send(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> tuple[int, bytes]:
        """Send a request; return status and body."""
        head = f"{method} {path} HTTP/1.1\r\n{self._head}Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        self._socket.sendall(head.encode() + body)
        status = int(self._stream.readline().split()[1])
        length, chunked = 0, False
        while (line := self._stream.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
            elif name.lower() == b"transfer-encoding":
                chunked = b"chunked" in value
        return status, self._read_chunks() if chunked else self._stream.read(length)

    def _read_chunks(self) -> bytes:
        parts = []
        while size := int(self._stream.readline().split(b";")[0], 16):
            parts.append(self._stream.read(size))
            self._stream.readline()
        self._stream.readline()
        return b"".join(parts)

    def json(self, method: str, path: str, obj: Any = None, content_type: str = "application/json") -> Any:
        """Send an object; return the answer's.

        Raises:
            BadLoad: The status is no success.
        """
        status, body = self.send(method, path, b"" if obj is None else json.dumps(obj).encode(), content_type)
        if status >= 300:
            raise BadLoad(f"{method} {path}: {status} {body[:300].decode(errors='replace')}")
        return json.loads(body)

    def close(self) -> None:
        """Close it."""
        self._stream.close()
        self._socket.close()


def in_threads(server: Server, work: Callable[[Connection, int], list[float]], workers: int) -> Result:
    """Run `work(connection, number)` on several connections; it returns the seconds that each good answer took."""
    taken: list[list[float]] = [[] for _ in range(workers)]
    broken: list[BaseException] = []

    def run(number: int) -> None:
        connection = Connection(server)
        try:
            taken[number] = work(connection, number)
        except Exception as err:  # noqa: BLE001 - told by the caller's thread
            broken.append(err)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - began
    if broken:
        raise BadLoad(f"a connection failed: {broken[0]}") from broken[0]
    times = sorted(one for some in taken for one in some)
    if not times:
        raise BadLoad("no good answer")
    last = len(times) - 1
    return Result(len(times) / seconds, times[last // 2] * 1e3, times[int(last * 0.99)] * 1e3, len(times))


class Watchers:
    """Many watches of one collection in a process of their own, which counts the events that come."""

    def __init__(self, server: Server, path: str, count: int) -> None:
        command = [sys.executable, __file__, server.host, str(server.port), str(server.ca_file), path, str(count)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "BENCH_TOKEN": server.token}
        )
        self._ask("ready")

    def _ask(self, word: str) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{word}\n".encode())
        self._process.stdin.flush()
        return int(self._process.stdout.readline() or b"-1")

    def count(self) -> int:
        """Return how many events have come to all of them together."""
        return self._ask("count")

    def close(self) -> None:
        """End them."""
        self._process.kill()
        self._process.wait()


def _watch(server: Server, path: str, count: int) -> None:
    """Open watches, then answer each line on standard input with the number of events so far."""
    selector = selectors.EpollSelector()
    context = server.tls()
    head = f"GET {path} HTTP/1.1\r\nHost: {server.host}\r\nAuthorization: Bearer {server.token}\r\nAccept: application/json\r\n\r\n"
    for _ in range(count):
        plain = socket.create_connection((server.host, server.port), timeout=60)
        connection = context.wrap_socket(plain, server_hostname=server.host)
        connection.sendall(head.encode())
        if b" 200 " not in connection.recv(4096).partition(b"\r\n")[0]:
            raise BadLoad(f"watch {path}: no 200")
        connection.setblocking(False)
        selector.register(connection, selectors.EVENT_READ)
    selector.register(sys.stdin.buffer, selectors.EVENT_READ)
    events, buffer = 0, bytearray(CHUNK_BYTES)
    while True:
        for key, _mask in selector.select():
            if key.fileobj is sys.stdin.buffer:
                if not os.read(0, 100):
                    return
                sys.stdout.write(f"{events}\n")
                sys.stdout.flush()
                continue
            connection = key.fileobj  # type: ignore[assignment]
            try:
                while size := connection.recv_into(buffer):
                    # each event is one line of JSON; the lines of chunked framing begin no object
                    events += buffer.count(b'{"type":"', 0, size)
            except ssl.SSLWantReadError:
                continue
            raise BadLoad("a watch ended")


if __name__ == "__main__":
    _watch(
        Server(sys.argv[1], int(sys.argv[2]), os.environ["BENCH_TOKEN"], Path(sys.argv[3])),
        sys.argv[4],
        int(sys.argv[5]),
    )
