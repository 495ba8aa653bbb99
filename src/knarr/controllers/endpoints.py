"""Endpoints: the older form of what EndpointSlices say, one object a Service, read by programs that know no slices.

What it observes: the Service, the pods that its selector matches, and the Endpoints object of the same name.

Upstream counterpart: pkg/controller/endpoint; staging/src/k8s.io/api endpoints/subsets for the canonical order.
"""

import contextlib
from collections.abc import Iterable, Sequence

import msgspec
from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.control import Context, loop, selectors
from knarr.controllers import batches, endpointslice
from knarr.controllers import pods as podinfo

MANAGED_BY = "endpoints.kubernetes.io/managed-by"
CONTROLLER = "endpoint-controller"
HEADLESS = "service.kubernetes.io/headless"
OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
LIMIT = 1000
"""Most addresses of one object."""

Address = tuple[str, bool, core_v1.EndpointAddress]
"""Sort key, whether it is ready, and the address."""


def subsets(service: core_v1.Service, pods: Iterable[core_v1.Pod]) -> list[core_v1.EndpointSubset]:
    """Return a Service's endpoints: ports that have the same addresses together, all in canonical order.

    Args:
        service: With a selector.
        pods: Those that the selector matches.
    """
    assert service.spec
    family = (service.spec.ipFamilies or ["IPv4"])[0]
    by_port: dict[bytes, tuple[core_v1.EndpointPort | None, dict[str, Address]]] = {}
    for pod in pods:
        address = _address(service, pod, family)
        if address is None:
            continue
        ports: Sequence[core_v1.EndpointPort | None] = _ports(service, pod)
        if not service.spec.ports:
            ports = (None,)  # headless without ports: addresses alone
        for port in ports:
            entry = by_port.setdefault(msgspec.json.encode(port), (port, {}))
            entry[1][address[0]] = address
    grouped: dict[tuple[tuple[str, bool], ...], tuple[list[core_v1.EndpointPort], list[Address]]] = {}
    for port, addresses in by_port.values():
        ordered = sorted(addresses.values(), key=lambda one: one[0])
        key = tuple((name, ready) for name, ready, _ in ordered)
        found = grouped.setdefault(key, ([], ordered))
        if port is not None:
            found[0].append(port)
    return [_subset(ports, addresses) for _, (ports, addresses) in sorted(grouped.items(), key=lambda item: item[0])]


def plan(
    service: core_v1.Service, pods: Iterable[core_v1.Pod], current: core_v1.Endpoints | None
) -> core_v1.Endpoints | None:
    """Return the object to write, or None if it stands as it should."""
    assert service.metadata and service.spec
    wanted, cut = _limit(subsets(service, pods))
    labels = {k: v for k, v in (service.metadata.labels or {}).items() if k != HEADLESS}
    labels[MANAGED_BY] = CONTROLLER
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    meta = current.metadata if current is not None and current.metadata else None
    meta = meta or meta_v1.ObjectMeta(name=service.metadata.name, namespace=service.metadata.namespace)
    annotations = {k: v for k, v in (meta.annotations or {}).items() if k != OVER_CAPACITY}
    if cut:
        annotations[OVER_CAPACITY] = "truncated"
    fresh = core_v1.Endpoints(
        metadata=replace(meta, labels=labels, annotations=annotations or None), subsets=wanted or None
    )
    return None if fresh == current else fresh


class Reconciler:
    """Carries out the plans of Services.

    Args:
        context: Client and informers.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._services = context.informers.of(core_v1.Service)
        self._pods = context.informers.of(core_v1.Pod)
        self._endpoints = context.informers.of(core_v1.Endpoints)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the Endpoints of a Service, or delete those of one that is gone."""
        service = self._services.get(request.namespace, request.name)
        current = self._endpoints.get(request.namespace, request.name)
        if service is None:
            if current is not None and not _is_lock(current):
                with contextlib.suppress(errors.NotFound):
                    await self._client.delete(core_v1.Endpoints, request.name, namespace=request.namespace)
            return loop.Result()
        if service.spec is None or not service.spec.selector or service.spec.type == "ExternalName":
            return loop.Result()
        selector = service.spec.selector
        pods = self._pods.list(request.namespace, lambda labels: selectors.subset(selector, labels))
        fresh = plan(service, pods, current)
        if fresh is None:
            return loop.Result()
        try:
            if current is None:
                await self._client.create(fresh)
            else:
                await self._client.update(fresh)
        except (errors.AlreadyExists, errors.NotFound) as err:  # the cache is behind
            kind = self._client.kinds.of(core_v1.Endpoints).resource
            raise errors.Conflict(kind.group, kind.plural, request.name) from err
        except errors.Forbidden as err:
            if not batches.is_namespace_going(err):
                raise
        return loop.Result()

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the Services that select a pod as it was or is."""
        return podinfo.services_of(self._services, old, new)

    def requests_of_endpoints(
        self, old: core_v1.Endpoints | None, new: core_v1.Endpoints | None
    ) -> Iterable[loop.Request]:
        """Name the Service of Endpoints that went, or that were there at the start: nobody else deletes left-overs."""
        if new is None or (old is None and not self._endpoints.is_synced):
            return loop.itself(new if new is not None else old)
        return ()


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("endpoint", reconciler, context)
    controller.watch(core_v1.Service, loop.itself)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    controller.watch_changes(core_v1.Endpoints, reconciler.requests_of_endpoints)
    return controller


def _address(service: core_v1.Service, pod: core_v1.Pod, family: str) -> Address | None:
    assert service.spec and service.metadata and pod.metadata and pod.spec
    unready_too = bool(service.spec.publishNotReadyAddresses)
    ip = endpointslice.pod_address(pod, family)
    if not ip or podinfo.phase(pod) in {"Succeeded", "Failed"}:
        return None
    if pod.metadata.deletionTimestamp is not None and not unready_too:
        return None
    named = bool(pod.spec.hostname) and pod.spec.subdomain == service.metadata.name
    address = core_v1.EndpointAddress(
        ip=ip,
        hostname=pod.spec.hostname if named else None,
        nodeName=pod.spec.nodeName,
        targetRef=core_v1.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
    )
    return (f"{ip} {pod.metadata.uid}", unready_too or podinfo.is_ready(pod), address)


def _ports(service: core_v1.Service, pod: core_v1.Pod) -> list[core_v1.EndpointPort]:
    found = endpointslice.endpoint_ports(service, pod)
    return [
        core_v1.EndpointPort(
            port=one.port or 0, name=one.name or None, protocol=one.protocol, appProtocol=one.appProtocol
        )
        for one in found
    ]


def _subset(ports: list[core_v1.EndpointPort], addresses: Sequence[Address]) -> core_v1.EndpointSubset:
    return core_v1.EndpointSubset(
        addresses=[address for _, ready, address in addresses if ready] or None,
        notReadyAddresses=[address for _, ready, address in addresses if not ready] or None,
        ports=sorted(ports, key=lambda port: (port.name or "", port.port, port.protocol or "")) or None,
    )


def _limit(found: list[core_v1.EndpointSubset]) -> tuple[list[core_v1.EndpointSubset], bool]:
    """Keep at most LIMIT addresses, ready ones first."""
    total = sum(len(one.addresses or ()) + len(one.notReadyAddresses or ()) for one in found)
    if total <= LIMIT:
        return found, False
    room, kept = LIMIT, []
    for one in found:
        ready = (one.addresses or [])[:room]
        room -= len(ready)
        kept.append(replace(one, addresses=ready or None))
    for index, one in enumerate(kept):
        waiting = (one.notReadyAddresses or [])[:room]
        room -= len(waiting)
        kept[index] = replace(one, notReadyAddresses=waiting or None)
    return [one for one in kept if one.addresses or one.notReadyAddresses], True


def _is_lock(endpoints: core_v1.Endpoints) -> bool:
    return LEADER_ANNOTATION in ((endpoints.metadata.annotations or {}) if endpoints.metadata else {})
