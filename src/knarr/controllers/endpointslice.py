"""EndpointSlices: the addresses behind each Service that has a selector, in slices of at most a hundred.

What it observes: the Service, the pods that its selector matches, their nodes, and the slices it made before. The plan
keeps every unchanged endpoint in its slice, so that a change of one pod writes one slice.

Upstream counterpart: pkg/controller/endpointslice and staging/src/k8s.io/endpointslice.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
from lightkube.models import core_v1, discovery_v1, meta_v1
from msgspec.structs import replace

from knarr.control import Context, expectations, informer, loop, owners, selectors
from knarr.controllers import endpointslice_zones as zones
from knarr.controllers import pods as podinfo
from knarr.controllers import slicewriting
from knarr.controllers.endpointslice_hints import Triggers, format_time, hints
from knarr.controllers.slicewriting import Action, Create, Delete, Update

MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
SERVICE_NAME = "kubernetes.io/service-name"
HEADLESS = "service.kubernetes.io/headless"
ENDPOINTS_LIMIT = 100
"""Most endpoints of one slice."""
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
RETRY_S = 5.0
"""A pod whose node is not known yet is looked at again after this long."""
ZONE = "topology.kubernetes.io/zone"


PortKey = bytes


def plan(
    service: core_v1.Service,
    pods: Iterable[core_v1.Pod],
    nodes: Mapping[str, core_v1.Node],
    slices: Sequence[discovery_v1.EndpointSlice],
    changed_at: datetime | None = None,
    allocated: Mapping[str, zones.Allocation] | None = None,
) -> list[Action]:
    """Decide which slices to write so that they list exactly the Service's endpoints.

    Args:
        service: With a selector.
        pods: Those that the selector matches.
        nodes: By name, for zones.
        slices: Those of this Service that this controller made.
        changed_at: When the change began that makes this necessary; None if that is not known.
        allocated: As `allocate` gives it, for Services with hints by zone.

    Returns:
        Creates, updates and deletes; empty when all stands as it should.
    """
    assert service.spec and service.metadata
    actions: list[Action] = []
    for family in service.spec.ipFamilies or ["IPv4"]:
        wanted = _endpoints_by_port(service, pods, nodes, family)
        if allocated is not None:
            _set_zones(wanted, allocated[family])
        current = [one for one in slices if one.addressType == family]
        by_port: dict[PortKey, list[discovery_v1.EndpointSlice]] = {}
        for one in current:
            by_port.setdefault(port_key(one.ports or ()), []).append(one)
        for key, (ports, endpoints) in wanted.items():
            actions += _plan_port(service, family, ports, endpoints, by_port.pop(key, []))
        actions += [Delete(one) for stale in by_port.values() for one in stale]
    families = set(service.spec.ipFamilies or ["IPv4"])
    actions += [Delete(one) for one in slices if one.addressType not in families]
    return [_stamped(action, changed_at) for action in _reuse(actions)]


def allocate(
    service: core_v1.Service,
    pods: Iterable[core_v1.Pod],
    nodes: Mapping[str, core_v1.Node],
    slices: Sequence[discovery_v1.EndpointSlice],
) -> dict[str, zones.Allocation]:
    """Decide by family for which zone each endpoint of a Service is; the arguments are as `plan` has them."""
    assert service.spec
    shares, found = zones.ratios(nodes.values()), {}
    for family in service.spec.ipFamilies or ["IPv4"]:
        groups = _endpoints_by_port(service, pods, nodes, family).values()
        endpoints = [endpoint for _, listed in groups for endpoint in listed]
        standing = zones.standing(one for one in slices if one.addressType == family)
        found[family] = zones.allocate(endpoints, shares, standing)
    return found


def _set_zones(
    wanted: Mapping[PortKey, tuple[list[discovery_v1.EndpointPort], list[discovery_v1.Endpoint]]],
    allocation: zones.Allocation,
) -> None:
    """Hint at the zones that were allocated, whatever else the Service says of distribution."""
    for _, endpoints in wanted.values():
        for endpoint in endpoints:
            zone = allocation.zones.get(endpoint.addresses[0])
            endpoint.hints = discovery_v1.EndpointHints(forZones=[discovery_v1.ForZone(name=zone)]) if zone else None


def _stamped(action: Action, changed_at: datetime | None) -> Action:
    """Return a write that says when the change began."""
    if isinstance(action, Delete):
        return action
    one = action.slice
    assert one.metadata
    annotations = {key: value for key, value in (one.metadata.annotations or {}).items() if key != LAST_CHANGE}
    if changed_at is not None:
        annotations[LAST_CHANGE] = format_time(changed_at)
    stamped = replace(one, metadata=replace(one.metadata, annotations=annotations or None))
    return _with_slice(action, stamped)


def _with_slice(action: Create | Update, one: discovery_v1.EndpointSlice) -> Action:
    """Return the same kind of write of another slice."""
    return Create(one) if isinstance(action, Create) else Update(one)


def _reuse(actions: list[Action]) -> list[Action]:
    """Turn pairs of a create and a delete of the same family into one update, so that readers never see a gap."""
    creates = [one for one in actions if isinstance(one, Create)]
    for delete in [one for one in actions if isinstance(one, Delete)]:
        stale = delete.slice
        match = next((one for one in creates if one.slice.addressType == stale.addressType), None)
        if match is None:
            continue
        creates.remove(match)
        actions.remove(match)
        assert stale.metadata and match.slice.metadata
        meta = replace(stale.metadata, labels=match.slice.metadata.labels)
        fresh = replace(stale, metadata=meta, endpoints=match.slice.endpoints, ports=match.slice.ports)
        actions[actions.index(delete)] = Update(fresh)
    return actions


def port_key(ports: Iterable[discovery_v1.EndpointPort]) -> PortKey:
    """Return bytes that are equal for equal sets of ports."""
    return b",".join(sorted(msgspec.json.encode(port) for port in ports))


def _endpoints_by_port(
    service: core_v1.Service, pods: Iterable[core_v1.Pod], nodes: Mapping[str, core_v1.Node], family: str
) -> dict[PortKey, tuple[list[discovery_v1.EndpointPort], list[discovery_v1.Endpoint]]]:
    assert service.spec
    groups: dict[PortKey, tuple[list[discovery_v1.EndpointPort], list[discovery_v1.Endpoint]]] = {}
    for pod in pods:
        address = pod_address(pod, family)
        if not address or podinfo.phase(pod) in {"Succeeded", "Failed"}:
            continue
        ports = endpoint_ports(service, pod)
        if (service.spec.ports and not ports) or is_lost(service, pod, nodes):
            continue
        endpoint = _endpoint(service, pod, address, nodes)
        groups.setdefault(port_key(ports), (ports, []))[1].append(endpoint)
    if not groups:
        groups[port_key(())] = ([], [])  # one empty slice tells that there is nothing, as upstream does
    return groups


def is_lost(service: core_v1.Service, pod: core_v1.Pod, nodes: Mapping[str, core_v1.Node]) -> bool:
    """Tell whether a pod's node is not there; unless the Service publishes everything, such a pod is left out."""
    assert service.spec and pod.spec
    return bool(pod.spec.nodeName) and pod.spec.nodeName not in nodes and not service.spec.publishNotReadyAddresses


def pod_address(pod: core_v1.Pod, family: str) -> str:
    """Return the pod's address of a family ("IPv4", "IPv6"), or ""."""
    colon = family == "IPv6"
    addresses = [one.ip or "" for one in (pod.status.podIPs or ())] if pod.status else []
    return next((address for address in addresses if address and (":" in address) == colon), "")


def endpoint_ports(service: core_v1.Service, pod: core_v1.Pod) -> list[discovery_v1.EndpointPort]:
    """Resolve a Service's target ports for one pod; ports whose name the pod does not have are left out."""
    assert service.spec
    resolved = []
    for port in service.spec.ports or ():
        number = target_port(pod, port)
        if number is not None:
            resolved.append(
                discovery_v1.EndpointPort(
                    name=port.name or "", port=number, protocol=port.protocol or "TCP", appProtocol=port.appProtocol
                )
            )
    return resolved


def target_port(pod: core_v1.Pod, port: core_v1.ServicePort) -> int | None:
    """Return the number of a Service port's target in a pod, or None if its name is not there."""
    target = port.targetPort if port.targetPort is not None else port.port
    if isinstance(target, int):
        return int(target or port.port)
    assert pod.spec
    sidecars = [one for one in pod.spec.initContainers or () if one.restartPolicy == "Always"]
    for container in [*(pod.spec.containers or ()), *sidecars]:
        for candidate in container.ports or ():
            if candidate.name == target and (candidate.protocol or "TCP") == (port.protocol or "TCP"):
                return int(candidate.containerPort)
    return None


def _endpoint(
    service: core_v1.Service, pod: core_v1.Pod, address: str, nodes: Mapping[str, core_v1.Node]
) -> discovery_v1.Endpoint:
    assert pod.metadata and pod.spec and service.spec and service.metadata
    serving = podinfo.is_ready(pod)
    terminating = pod.metadata.deletionTimestamp is not None
    ready = bool(service.spec.publishNotReadyAddresses) or (serving and not terminating)
    node = nodes.get(pod.spec.nodeName or "")
    zone = ((node.metadata.labels or {}).get(ZONE)) if node and node.metadata else None
    named = bool(pod.spec.hostname) and pod.spec.subdomain == service.metadata.name
    endpoint = discovery_v1.Endpoint(
        addresses=[address],
        conditions=discovery_v1.EndpointConditions(ready=ready, serving=serving, terminating=terminating),
        hostname=pod.spec.hostname if named and pod.metadata.namespace == service.metadata.namespace else None,
        nodeName=pod.spec.nodeName,
        targetRef=core_v1.ObjectReference(
            kind="Pod", namespace=pod.metadata.namespace, name=pod.metadata.name, uid=pod.metadata.uid
        ),
        zone=zone,
    )
    endpoint.hints = hints(service.spec.trafficDistribution, endpoint)
    return endpoint


def _plan_port(
    service: core_v1.Service,
    family: str,
    ports: list[discovery_v1.EndpointPort],
    endpoints: Sequence[discovery_v1.Endpoint],
    slices: Sequence[discovery_v1.EndpointSlice],
) -> list[Action]:
    """Keep what stands, drop what is gone, put what is new where there is room, open slices for the rest."""
    left = {_endpoint_key(endpoint): endpoint for endpoint in endpoints}
    kept: list[tuple[discovery_v1.EndpointSlice, list[discovery_v1.Endpoint]]] = []
    for one in slices:
        still = [left.pop(key) for key in map(_endpoint_key, one.endpoints or ()) if key in left]
        kept.append((one, still))
    new = _fill(service, ports, kept, list(left.values()))
    actions: list[Action] = []
    filled = sum(1 for _, still in kept if still)
    spare = 0 if filled or new else 1  # one slice stays even when it is empty
    for one, still in kept:
        if not still and spare == 0:
            actions.append(Delete(one))
            continue
        spare -= 0 if still else 1
        fresh = _with_service(service, replace(one, endpoints=still, ports=ports))
        if fresh != one:
            actions.append(Update(fresh))
    while new or (not kept and not actions):
        actions.append(Create(_new_slice(service, family, ports, new[:ENDPOINTS_LIMIT])))
        new = new[ENDPOINTS_LIMIT:]
    return actions


def _fill(
    service: core_v1.Service,
    ports: list[discovery_v1.EndpointPort],
    kept: Sequence[tuple[discovery_v1.EndpointSlice, list[discovery_v1.Endpoint]]],
    new: list[discovery_v1.Endpoint],
) -> list[discovery_v1.Endpoint]:
    """Put new endpoints where that costs fewest writes, and return those that need new slices.

    Slices that are written anyway take what they can, the fullest first; what is left goes into one more slice if it all fits there.
    """
    by_fill = sorted(kept, key=lambda pair: len(pair[1]), reverse=True)
    for one, still in by_fill:
        if _with_service(service, replace(one, endpoints=still, ports=ports)) != one:
            room = max(0, ENDPOINTS_LIMIT - len(still))
            still += new[:room]
            new = new[room:]
    for _, still in by_fill:
        if new and len(still) + len(new) <= ENDPOINTS_LIMIT:
            still += new
            new = []
    return new


def _endpoint_key(endpoint: discovery_v1.Endpoint) -> tuple[str, str]:
    return (endpoint.targetRef.uid or "" if endpoint.targetRef else "", endpoint.addresses[0])


def _new_slice(
    service: core_v1.Service,
    family: str,
    ports: list[discovery_v1.EndpointPort],
    endpoints: list[discovery_v1.Endpoint],
) -> discovery_v1.EndpointSlice:
    assert service.metadata
    blank = discovery_v1.EndpointSlice(
        addressType=family,
        endpoints=endpoints,
        ports=ports,
        metadata=meta_v1.ObjectMeta(
            generateName=f"{service.metadata.name}-",
            namespace=service.metadata.namespace,
            ownerReferences=[owners.controller_reference(service)],
        ),
    )
    return _with_service(service, blank)


def _with_service(service: core_v1.Service, one: discovery_v1.EndpointSlice) -> discovery_v1.EndpointSlice:
    """Return the slice with the labels that a slice of this Service carries."""
    assert service.metadata and service.spec and one.metadata
    labels = {k: v for k, v in (service.metadata.labels or {}).items() if k not in {MANAGED_BY, SERVICE_NAME, HEADLESS}}
    labels |= {SERVICE_NAME: service.metadata.name or "", MANAGED_BY: CONTROLLER}
    if service.spec.clusterIP == "None":
        labels[HEADLESS] = ""
    if labels == (one.metadata.labels or {}):
        return one
    return replace(one, metadata=replace(one.metadata, labels=labels))


class Reconciler:
    """Carries out the plans of Services.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._expectations = expectations.Expectations(context.clock)
        self._services = context.informers.of(core_v1.Service)
        self._pods = context.informers.of(core_v1.Pod)
        self._nodes = context.informers.of(core_v1.Node)
        self._slices = context.informers.of(discovery_v1.EndpointSlice)
        self._slices.add_index(SERVICE_NAME, _service_key)
        self._triggers: dict[str, Triggers] = {}
        self._told: dict[str, dict[str, str]] = {}
        self._recorder = context.recorder

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the slices of a Service; without the Service the garbage collector takes them."""
        service = self._services.get(request.namespace, request.name)
        if service is None:
            self._expectations.forget(str(request))
            self._triggers.pop(str(request), None)
            self._told.pop(str(request), None)
        if service is None or service.spec is None or not service.spec.selector or service.spec.type == "ExternalName":
            return loop.Result()
        assert service.metadata
        if service.metadata.deletionTimestamp is not None or not self._expectations.is_fulfilled(str(request)):
            return loop.Result()  # what was created and is not seen yet comes back here when it is
        selector = service.spec.selector
        pods = self._pods.list(request.namespace, lambda labels: selectors.subset(selector, labels))
        nodes = {informer.key_of(node)[1]: node for node in self._nodes.list()}
        changed_at = self._triggers.setdefault(str(request), Triggers()).next(service, pods)
        mine = self._mine(request)
        allocated = allocate(service, pods, nodes, mine) if zones.is_wanted(service) else None
        self._tell(request, service, allocated)
        actions = plan(service, pods, nodes, mine, changed_at, allocated)
        await slicewriting.write(self._client, self._expectations, str(request), actions)
        lost = any(is_lost(service, pod, nodes) for pod in pods)
        return loop.Result(requeue_after_s=RETRY_S if lost else None)

    def requests_of_pod(self, old: core_v1.Pod | None, new: core_v1.Pod | None) -> Iterable[loop.Request]:
        """Name the Services that select a pod as it was or is, if anything that endpoints show has changed."""
        return podinfo.services_of(self._services, old, new)

    def requests_of_slice(
        self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> Iterable[loop.Request]:
        """Name the Service of a slice of ours, and count down what was expected."""
        found: dict[loop.Request, None] = {}
        for one in (old, new):
            if one is None or one.metadata is None or (one.metadata.labels or {}).get(MANAGED_BY) != CONTROLLER:
                continue
            request = loop.Request(one.metadata.namespace or "", (one.metadata.labels or {}).get(SERVICE_NAME, ""))
            found[request] = None
            if old is None:
                self._expectations.saw_creation(str(request))
        return found

    def requests_of_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        """Name all Services when a node's zone is not what it was; those with hints by zone also when its capacity is not."""
        if _zone(old) == _zone(new) and not zones.has_changed(old, new):
            return ()
        is_other_zone = _zone(old) != _zone(new)
        found = [one for one in self._services.list() if is_other_zone or zones.is_wanted(one)]
        return [loop.Request(*informer.key_of(service)) for service in found]

    def _tell(
        self, request: loop.Request, service: core_v1.Service, allocated: Mapping[str, zones.Allocation] | None
    ) -> None:
        """Record an event when hints by zone begin, or why there are none."""
        told = self._told.pop(str(request), {})
        if allocated is None:
            return
        self._told[str(request)] = {family: one.reason for family, one in allocated.items()}
        for family, one in allocated.items():
            if told.get(family) == one.reason:
                continue
            if one.reason:
                self._recorder.warning(service, "TopologyAwareHintsDisabled", f"{one.reason}, addressType: {family}")
            else:
                self._recorder.normal(service, "TopologyAwareHintsEnabled", f"{zones.ENABLED}, addressType: {family}")

    def _mine(self, request: loop.Request) -> list[discovery_v1.EndpointSlice]:
        found = self._slices.by_index(SERVICE_NAME, str(request))
        return [one for one in found if one.metadata and not one.metadata.deletionTimestamp]


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("endpointslice", reconciler, context)
    controller.watch(core_v1.Service, loop.itself)
    controller.watch_changes(core_v1.Pod, reconciler.requests_of_pod)
    controller.watch_changes(discovery_v1.EndpointSlice, reconciler.requests_of_slice)
    controller.watch_changes(core_v1.Node, reconciler.requests_of_node)
    return controller


def _service_key(one: discovery_v1.EndpointSlice) -> Iterable[str]:
    labels = (one.metadata.labels or {}) if one.metadata else {}
    if labels.get(MANAGED_BY) != CONTROLLER:
        return ()
    return (str(loop.Request(informer.key_of(one)[0], labels.get(SERVICE_NAME, ""))),)


def _zone(node: core_v1.Node | None) -> str | None:
    return (node.metadata.labels or {}).get(ZONE) if node is not None and node.metadata else None
