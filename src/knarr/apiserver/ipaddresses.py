"""One IPAddress object for each cluster IP, so that people see what is taken and by which Service.

The pool in `serviceips` decides; this follows it, a moment later, and repairs what does not agree.

Source: pkg/registry/core/service/ipallocator/ipallocator.go, controller/repairip.go (v1.37).
"""

import asyncio
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from knarr.api import errors
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts
from knarr.apiserver.serviceips import ips_of

Object = dict[str, Any]

RESOURCE = "ipaddresses.networking.k8s.io"
_FAMILY = "ipaddress.kubernetes.io/ip-family"
_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_MANAGER = "ipallocator.k8s.io"


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done.

    Attributes:
        create: Objects to create, without what the server fills in.
        delete: Names to delete.
    """

    create: list[Object]
    delete: list[str]


def plan(services: Iterable[Object], addresses: Iterable[Object]) -> Plan:
    """Compare the cluster IPs in use with the IPAddress objects that are there; those of others are left alone."""
    wanted = {ip: service["metadata"] for service in services for ip in ips_of(service)}
    present: set[str] = set()
    delete = []
    for address in addresses:
        name = address["metadata"]["name"]
        owner = wanted.get(name)
        is_ours = (address["metadata"].get("labels") or {}).get(_MANAGED_BY) == _MANAGER
        if is_ours and (owner is None or address["spec"].get("parentRef") != _parent(owner)):
            delete.append(name)
        else:
            present.add(name)
    return Plan([_address(ip, owner) for ip, owner in wanted.items() if ip not in present], delete)


async def run(parts: Parts) -> None:
    """Keep the objects up to date."""
    registry = parts.registry
    changed = asyncio.Event()
    changed.set()

    def on_change(old: Object | None, new: Object | None) -> None:
        if ips_of(old or {}) != ips_of(new or {}):
            changed.set()

    unsubscribe = registry.subscribe("services", on_change)
    try:
        while True:
            await changed.wait()
            changed.clear()
            todo = plan(registry.list("services"), registry.list(RESOURCE))
            for name in todo.delete:
                await registry.delete(RESOURCE, "", name)
            for obj in todo.create:
                obj["metadata"]["uid"] = new_uid(parts.random)
                obj["metadata"]["creationTimestamp"] = parts.now()
                try:
                    await registry.create(RESOURCE, obj)
                except errors.AlreadyExists:
                    changed.set()
    finally:
        unsubscribe()


def _address(ip: str, owner: Object) -> Object:
    family = "IPv4" if ipaddress.ip_address(ip).version == 4 else "IPv6"
    return {
        "kind": "IPAddress",
        "apiVersion": "networking.k8s.io/v1",
        "metadata": {"name": ip, "labels": {_FAMILY: family, _MANAGED_BY: _MANAGER}},
        "spec": {"parentRef": _parent(owner)},
    }


def _parent(owner: Object) -> Object:
    return {"resource": "services", "namespace": owner["namespace"], "name": owner["name"]}
