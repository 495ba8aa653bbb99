"""Clients of API servers over HTTP that note what they were told, each call over a connection of its own and never twice."""

import asyncio
import json
import time
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.live.store.server import TOKEN
from tests.store.linearizability import ANYTHING, NEVER, Call

PATH = "/api/v1/namespaces/default/configmaps"
CALL_S = 8.0
PACE_S = 0.02


class NoAnswer(Exception):
    """Raised when the server's answer did not come."""


class NotSent(Exception):
    """Raised when there was nobody to ask."""


async def call(port: int, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Make one call; returns the status code and the object."""
    try:
        async with asyncio.timeout(2):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except (OSError, TimeoutError) as err:
        raise NotSent(str(err)) from err
    try:
        async with asyncio.timeout(CALL_S):
            data = json.dumps(body).encode() if body is not None else b""
            head = (
                f"{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n"
            )
            writer.write(f"{head}content-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode() + data)
            answer = await reader.read()
    except (OSError, TimeoutError) as err:
        raise NoAnswer(str(err)) from err
    finally:
        writer.close()
    head, _, content = answer.partition(b"\r\n\r\n")
    if not content or b"content-length: %d" % len(content) not in head.lower():
        raise NoAnswer("it was cut off")
    return int(head.split()[1]), json.loads(content)


class Clients:
    """Some clients at some servers, and their history."""

    def __init__(self, ports: Sequence[int], random: Random, keys: int) -> None:
        self._ports = ports
        self._random = random
        self._keys = [f"k{index}" for index in range(keys)]
        self._number = 0
        self.history: list[Call] = []
        self.refused = 0
        self.last_write = 0.0
        self.is_ending = False

    async def run(self, client: int) -> None:
        """Play one client, which goes to another server when one does not answer."""
        seen: dict[str, tuple[str, str]] = {}  # value and version
        port = self._ports[client % len(self._ports)]
        while not self.is_ending:
            name = self._random.choice(self._keys)
            try:
                if name not in seen or self._random.random() < 0.4:
                    seen[name] = await self.read(port, name)
                else:
                    await self._write(port, name, *seen.pop(name))
            except (NoAnswer, NotSent):
                port = self._random.choice(self._ports)
                await asyncio.sleep(0.1)
            await asyncio.sleep(PACE_S)

    async def read(self, port: int, name: str) -> tuple[str, str]:
        """Read one object; returns its value and version, both empty if there is none."""
        start = time.monotonic()
        code, obj = await call(port, "GET", f"{PATH}/{name}")
        if code not in (200, 404):
            raise NoAnswer(f"{code}")
        found = (obj["data"]["v"], obj["metadata"]["resourceVersion"]) if code == 200 else ("", "")
        self.history.append(Call(name, "read", start, time.monotonic(), found=found[0]))
        return found

    async def _write(self, port: int, name: str, expected: str, version: str) -> None:
        self._number += 1
        value = f"v{self._number}" if not expected or self._random.random() < 0.8 else ""
        meta = {"name": name, **({"resourceVersion": version} if version else {})}
        obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"v": value, "pad": "x" * 2000}}
        start = time.monotonic()
        try:
            if not expected:
                code, answer = await call(port, "POST", PATH, obj)
            elif value:
                code, answer = await call(port, "PUT", f"{PATH}/{name}", obj)
            else:
                code, answer = await call(
                    port, "DELETE", f"{PATH}/{name}", {"preconditions": {"resourceVersion": version}}
                )
        except NoAnswer:
            self.history.append(Call(name, "write", start, NEVER, expected, value))
            raise
        end = time.monotonic()
        if code in (200, 201):
            self.last_write = max(self.last_write, start)
            revision = int(answer["metadata"]["resourceVersion"]) if value else 0
            self.history.append(Call(name, "write", start, end, expected, value, revision=revision))
        elif code in (404, 409):
            self.history.append(Call(name, "write", start, end, expected, value, ANYTHING, is_lost=True))
        elif code in (429, 503):  # says that nothing was written, and is held to it
            self.refused += 1
        else:
            self.history.append(Call(name, "write", start, NEVER, expected, value))
