"""Pod templates: when two are the same, and the hash that names a ReplicaSet after one.

Upstream counterpart: pkg/controller/deployment/util EqualIgnoreHash and pkg/controller ComputeHash.
"""

import hashlib

import msgspec
from lightkube.models import core_v1
from msgspec.structs import replace

POD_TEMPLATE_HASH = "pod-template-hash"
HASH_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels, no look-alikes: what upstream's SafeEncodeString uses."""


def template_key(template: core_v1.PodTemplateSpec | None) -> bytes:
    """Return bytes that are equal for templates that differ at most in the hash label."""
    if template is None:
        return b""
    meta = template.metadata
    if meta is not None and meta.labels and POD_TEMPLATE_HASH in meta.labels:
        labels = {key: value for key, value in meta.labels.items() if key != POD_TEMPLATE_HASH}
        template = replace(template, metadata=replace(meta, labels=labels or None))
    plain = msgspec.to_builtins(template)
    meta_plain = plain.get("metadata") or {}
    plain["metadata"] = {key: value for key, value in meta_plain.items() if value not in (None, {})}
    return msgspec.json.encode(plain, order="deterministic")


def template_hash(template: core_v1.PodTemplateSpec, collisions: int) -> str:
    """Return the hash that names a template's ReplicaSet: up to ten safe characters, new for each collision count."""
    digest = hashlib.sha256(template_key(template) + str(collisions).encode()).digest()
    number = int.from_bytes(digest[:4], "big")
    return "".join(HASH_ALPHABET[int(digit) if digit.isdigit() else 0] for digit in str(number))
