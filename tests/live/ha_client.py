"""Writers and a watcher that behave as client-go does, behind the balancer that agents have; they note what they were told.

ha_client.py KUBECONFIG TARGETS SECONDS: prints, as JSON, what was acknowledged, what the watch told, and the longest silence.
"""

import asyncio
import base64
import json
import sys
import time
import uuid
from pathlib import Path
from typing import Any

import yaml

from knarr.api import errors as api_errors
from knarr.client import errors as client_errors
from knarr.client import kubeconfig
from knarr.cluster import servers
from knarr.kit import balancer
from knarr.kit.clock import SystemClock
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request

WRITERS = 4
RUN = f"w{uuid.uuid4().hex[:6]}"
PATH = "/api/v1/namespaces/default/configmaps"
JSON = Headers.from_lower([("content-type", "application/json")])
RETRIED = (client_errors.Unreachable, http_errors.HttpError, OSError, api_errors.StatusError)


class Notes:
    """What the client was told."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, int] = {}
        self.seen: set[tuple[str, int]] = set()
        self.writes: set[tuple[str, int]] = set()
        self.watches = 0
        self.relists = 0
        self.retries = 0
        self.last_s = time.monotonic()
        self.silence_s = 0.0

    def acknowledge(self, obj: Any) -> None:
        now = time.monotonic()
        self.silence_s, self.last_s = max(self.silence_s, now - self.last_s), now
        version = int(obj["metadata"]["resourceVersion"])
        self.acknowledged[obj["metadata"]["name"]] = int(obj["data"]["n"])
        self.writes.add((obj["metadata"]["name"], version))


async def call(transport: Any, notes: Notes, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """One request, repeated as client-go and a controller's work queue would."""
    while True:
        data = json.dumps(body).encode() if body is not None else b""
        try:
            response = await transport.request(Request(method, path, "", JSON, data), timeout_s=10)
        except RETRIED:
            notes.retries += 1
            await asyncio.sleep(0.05)
            continue
        if response.status in (429, 500, 503, 504):
            notes.retries += 1
            await asyncio.sleep(0.05)
            continue
        return response.status, json.loads(response.body)


async def write(transport: Any, notes: Notes, writer: int, until_s: float) -> None:
    """Create objects, and change each a few times; a creation or change that may have happened is looked at."""
    number = 0
    while time.monotonic() < until_s:
        name = f"{RUN}-{writer}-{number}"
        number += 1
        obj: Any = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name}, "data": {"n": "0"}}
        status, found = await call(transport, notes, "POST", PATH, obj)
        if status == 409:  # an earlier attempt whose answer was lost
            status, found = await call(transport, notes, "GET", f"{PATH}/{name}")
        assert status in (200, 201), found
        notes.acknowledge(found)
        for count in range(1, 4):
            found["data"]["n"] = str(count)
            status, answer = await call(transport, notes, "PUT", f"{PATH}/{name}", found)
            if status == 409:
                status, answer = await call(transport, notes, "GET", f"{PATH}/{name}")
                assert answer["data"]["n"] == str(count), f"{name}: somebody else wrote {answer}"
            assert status == 200, answer
            found = answer
            notes.acknowledge(found)


async def watch(transport: Any, notes: Notes) -> None:
    """Watch from the last version seen, again and again; a 410 makes a list necessary, and is counted."""
    version = ""
    while True:
        try:
            if not version:
                _, listed = await call(transport, notes, "GET", PATH)
                version = listed["metadata"]["resourceVersion"]
                notes.relists += 1
            query = f"watch=true&allowWatchBookmarks=true&resourceVersion={version}"
            notes.watches += 1
            async with transport.open_stream(Request("GET", PATH, query)) as streamed:
                if streamed.status == 410:
                    version = ""
                    continue
                pending = b""
                async for chunk in streamed.chunks:
                    *lines, pending = (pending + chunk).split(b"\n")
                    for line in filter(None, lines):
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            version = "" if event["object"].get("code") == 410 else version
                            break
                        metadata = event["object"]["metadata"]
                        version = metadata["resourceVersion"]
                        if event["type"] != "BOOKMARK":
                            notes.seen.add((metadata["name"], int(version)))
        except RETRIED:
            pass
        await asyncio.sleep(0.05)


async def main(path: Path, addresses: list[str], seconds: float) -> None:
    targets, clock, notes = [servers.parse(f"https://{one}") for one in addresses], SystemClock(), Notes()
    config = yaml.safe_load(path.read_text())
    folder = path.with_suffix(".client")
    folder.mkdir(exist_ok=True)

    (folder / "ca.crt").write_bytes(base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]))
    async with balancer.open_balancer(targets, servers.Probe(folder), clock=clock) as opened:
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{opened.port}"
        (folder / "config").write_text(yaml.safe_dump(config))
        transport = kubeconfig.to_transport(folder / "config")
        watching = asyncio.ensure_future(watch(transport, notes))
        await asyncio.sleep(1)
        notes.last_s = time.monotonic()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        until_s = time.monotonic() + seconds
        await asyncio.gather(*(write(transport, notes, writer, until_s) for writer in range(WRITERS)))
        await asyncio.sleep(3)
        if watching.done():
            watching.result()
        watching.cancel()
        _, listed = await call(transport, notes, "GET", PATH)
        stored = {one["metadata"]["name"]: int(one["data"].get("n", -1)) for one in listed["items"]}
        await transport.aclose()
    lost = {name: count for name, count in notes.acknowledged.items() if stored.get(name, -1) < count}
    told = {
        "acknowledged": len(notes.writes),
        "lost": sorted(lost)[:20],
        "missed": sorted(notes.writes - notes.seen)[:20],
        "silence_s": round(notes.silence_s, 2),
        "watches": notes.watches,
        "relists": notes.relists,
        "retries": notes.retries,
    }
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2].split(","), float(sys.argv[3])))
