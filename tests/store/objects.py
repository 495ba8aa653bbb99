"""Objects as the API server stores them."""

import json


def encode(name: str, labels: dict[str, str] | None = None, /, **fields: str) -> bytes:
    meta = {"resourceVersion": "", "name": name, "labels": labels or {}, "fields": fields}
    return json.dumps({"kind": "Pod", "apiVersion": "v1", "metadata": meta}, separators=(",", ":")).encode()


def key(name: str, namespace: str = "default") -> bytes:
    return f"/registry/pods/{namespace}/{name}".encode()


def version(value: bytes) -> int:
    return int(json.loads(value)["metadata"]["resourceVersion"])
