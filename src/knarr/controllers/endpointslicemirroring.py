"""EndpointSlices for Endpoints that people write by hand, for Services without a selector.

Programs read slices; whoever still writes Endpoints must be seen by them.

Upstream counterpart: pkg/controller/endpointslicemirroring.
"""

import ipaddress
from collections.abc import Iterable, Sequence

from lightkube.models import core_v1, discovery_v1, meta_v1
from msgspec.structs import replace

from knarr.control import Context, expectations, informer, loop, owners
from knarr.controllers import slicewriting
from knarr.controllers.endpointslice import MANAGED_BY, SERVICE_NAME, port_key
from knarr.controllers.slicewriting import Action, Create, Delete, Update

CONTROLLER = "endpointslicemirroring-controller.k8s.io"
SKIP = "endpointslice.kubernetes.io/skip-mirror"
LEADER_ANNOTATION = "control-plane.alpha.kubernetes.io/leader"
SUBSET_LIMIT = 1000
_NOT_COPIED = frozenset(
    {"kubectl.kubernetes.io/last-applied-configuration", "endpoints.kubernetes.io/last-change-trigger-time"}
)


def plan(endpoints: core_v1.Endpoints, slices: Sequence[discovery_v1.EndpointSlice]) -> list[Action]:
    """Decide which slices to write so that they say what the Endpoints say.

    Args:
        endpoints: Written by somebody.
        slices: Those that mirror it so far.
    """
    left = [*slices]
    actions: list[Action] = []
    for wanted in _wanted(endpoints):
        match = next((one for one in left if _shape(one) == _shape(wanted)), None)
        if match is None:
            actions.append(Create(wanted))
            continue
        left.remove(match)
        assert match.metadata and wanted.metadata
        meta = replace(match.metadata, labels=wanted.metadata.labels, annotations=wanted.metadata.annotations)
        fresh = replace(match, metadata=meta, endpoints=wanted.endpoints)
        if fresh != match:
            actions.append(Update(fresh))
    return actions + [Delete(one) for one in left]


def is_mirrored(endpoints: core_v1.Endpoints | None, service: core_v1.Service | None) -> bool:
    """Tell whether Endpoints are to be mirrored: written by hand, for a Service without a selector."""
    if endpoints is None or endpoints.metadata is None or service is None or service.spec is None:
        return False
    labels, annotations = endpoints.metadata.labels or {}, endpoints.metadata.annotations or {}
    return labels.get(SKIP) != "true" and LEADER_ANNOTATION not in annotations and not service.spec.selector


class Reconciler:
    """Carries out the plans.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._expectations = expectations.Expectations(context.clock)
        self._services = context.informers.of(core_v1.Service)
        self._endpoints = context.informers.of(core_v1.Endpoints)
        self._slices = context.informers.of(discovery_v1.EndpointSlice)
        self._slices.add_index(CONTROLLER, _key_of_mine)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the slices of an Endpoints object, or delete them when it is not mirrored any more."""
        if not self._expectations.is_fulfilled(str(request)):
            return loop.Result()
        endpoints = self._endpoints.get(request.namespace, request.name)
        slices = self._slices.by_index(CONTROLLER, str(request))
        if not is_mirrored(endpoints, self._services.get(request.namespace, request.name)):
            self._expectations.forget(str(request))
            actions: list[Action] = [Delete(one) for one in slices]
        else:
            assert endpoints is not None
            actions = plan(endpoints, slices)
        await slicewriting.write(self._client, self._expectations, str(request), actions)
        return loop.Result()

    def requests_of_slice(
        self, old: discovery_v1.EndpointSlice | None, new: discovery_v1.EndpointSlice | None
    ) -> Iterable[loop.Request]:
        """Name the Endpoints of a slice of ours, and count down what was expected."""
        one = new if new is not None else old
        if one is None or not [*_key_of_mine(one)]:
            return ()
        request = loop.Request(
            informer.key_of(one)[0], ((one.metadata.labels or {}) if one.metadata else {})[SERVICE_NAME]
        )
        if old is None:
            self._expectations.saw_creation(str(request))
        return (request,)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("endpointslicemirroring", reconciler, context)
    controller.watch(core_v1.Endpoints, loop.itself)
    controller.watch(core_v1.Service, loop.itself)
    controller.watch_changes(discovery_v1.EndpointSlice, reconciler.requests_of_slice)
    return controller


def _wanted(endpoints: core_v1.Endpoints) -> list[discovery_v1.EndpointSlice]:
    assert endpoints.metadata
    meta = endpoints.metadata
    labels = {**(meta.labels or {}), SERVICE_NAME: meta.name or "", MANAGED_BY: CONTROLLER}
    annotations = {key: value for key, value in (meta.annotations or {}).items() if key not in _NOT_COPIED}
    found = []
    for subset in endpoints.subsets or ():
        ports = [
            discovery_v1.EndpointPort(
                name=port.name or "", port=port.port, protocol=port.protocol or "TCP", appProtocol=port.appProtocol
            )
            for port in subset.ports or ()
        ]
        by_family: dict[str, list[discovery_v1.Endpoint]] = {}
        marked = [(one, True) for one in subset.addresses or ()] + [
            (one, False) for one in subset.notReadyAddresses or ()
        ]
        for address, ready in marked[:SUBSET_LIMIT]:
            family = f"IPv{ipaddress.ip_address(address.ip).version}"
            by_family.setdefault(family, []).append(_endpoint(address, ready=ready))
        for family, listed in by_family.items():
            found.append(
                discovery_v1.EndpointSlice(
                    addressType=family,
                    endpoints=listed,
                    ports=ports,
                    metadata=meta_v1.ObjectMeta(
                        generateName=f"{meta.name}-",
                        namespace=meta.namespace,
                        labels=labels,
                        annotations=annotations or None,
                        ownerReferences=[owners.controller_reference(endpoints)],
                    ),
                )
            )
    return found


def _endpoint(address: core_v1.EndpointAddress, *, ready: bool) -> discovery_v1.Endpoint:
    return discovery_v1.Endpoint(
        addresses=[address.ip],
        conditions=discovery_v1.EndpointConditions(ready=ready),
        hostname=address.hostname,
        nodeName=address.nodeName,
        targetRef=address.targetRef,
    )


def _shape(one: discovery_v1.EndpointSlice) -> tuple[str, bytes]:
    return one.addressType, port_key(one.ports or ())


def _key_of_mine(one: discovery_v1.EndpointSlice) -> Iterable[str]:
    labels = (one.metadata.labels or {}) if one.metadata else {}
    if labels.get(MANAGED_BY) != CONTROLLER or SERVICE_NAME not in labels:
        return ()
    return (str(loop.Request(informer.key_of(one)[0], labels[SERVICE_NAME])),)
