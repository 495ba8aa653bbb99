"""Each API server makes itself known by a Lease in kube-system that it renews; Leases of servers that are long gone are deleted.

Upstream counterpart: the start-kube-apiserver-identity-lease-controller and -garbage-collector hooks.

Source: pkg/controlplane/apiserver/{server,config}.go, pkg/controlplane/controller/apiserverleasegc (v1.37).
"""

import base64
import contextlib
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from knarr.api import errors
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

LEASES = "leases.coordination.k8s.io"
NAMESPACE = "kube-system"
LABEL = "apiserver.kubernetes.io/identity"
DURATION_S = 3600
RENEW_S = 10.0
SWEEP_S = 3600.0
_COMPONENT = "kube-apiserver"
_HASH_BYTES = 16


def name_of(hostname: str) -> str:
    """Return the identity of the server on a host: the same after each start."""
    digest = hashlib.sha256(hostname.encode()).digest()[:_HASH_BYTES]
    return f"apiserver-{base64.b32encode(digest).decode().rstrip('=').lower()}"


async def renew(parts: Parts) -> None:
    """Keep this server's Lease: made when it is missing, renewed every ten seconds."""
    name = name_of(parts.config.hostname)
    holder = f"{name}_{new_uid(parts.random)}"
    while True:
        # Whoever else writes or deletes it in between: the next round looks again.
        with contextlib.suppress(errors.AlreadyExists, errors.Conflict, errors.NotFound):
            await _renew_once(parts, name, holder)
        await parts.clock.sleep(RENEW_S)


async def sweep(parts: Parts) -> None:
    """Delete the Leases of servers that have not renewed them for as long as they hold, once an hour."""
    while True:
        await parts.clock.sleep(SWEEP_S)
        now = parts.clock.now()
        for lease in parts.registry.list(LEASES, NAMESPACE, terms=(("label", LABEL, _COMPONENT),)):
            if is_over(lease, now):
                await parts.registry.delete(LEASES, NAMESPACE, lease["metadata"]["name"])


def is_over(lease: Object, now: datetime) -> bool:
    """Return whether nobody holds a Lease any more; one that does not say until when is over."""
    spec = lease.get("spec") or {}
    renewed, duration_s = spec.get("renewTime"), spec.get("leaseDurationSeconds")
    if not renewed or duration_s is None:
        return True
    return datetime.fromisoformat(renewed).astimezone(UTC) + timedelta(seconds=duration_s) < now


async def _renew_once(parts: Parts, name: str, holder: str) -> None:
    found = parts.registry.get(LEASES, NAMESPACE, name)
    now = parts.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    spec = {"holderIdentity": holder, "leaseDurationSeconds": DURATION_S, "renewTime": now}
    if found is not None:
        await parts.registry.update(LEASES, {**found, "spec": {**(found.get("spec") or {}), **spec}})
        return
    labels = {LABEL: _COMPONENT, "kubernetes.io/hostname": parts.config.hostname}
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "uid": new_uid(parts.random),
        "creationTimestamp": parts.now(),
        "labels": labels,
    }
    lease = {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata, "spec": spec}
    await parts.registry.create(LEASES, lease)
