"""Devices: which of those that drivers offer on a node fulfil what claims ask for.

A search with backtracking over the requests of all claims of a pod, in order: each takes the first devices that its class and its own
selectors accept, that are free, and that fit the constraints of the claim.

Upstream counterpart: k8s.io/dynamic-resource-allocation/structured and cel (v1.37).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from lightkube.models import core_v1, resource_v1

from knarr.control import tolerations
from knarr.lang.cel import CelError, Environment
from knarr.lang.cel.declarations import DYN
from knarr.lang.cel.engine import to_message
from knarr.lang.cel.libraries.quantities import to_quantity
from knarr.lang.cel.libraries.text import to_semver

DeviceId = tuple[str, str, str]
"""Driver, pool and name."""
Request = resource_v1.ExactDeviceRequest | resource_v1.DeviceSubRequest

ALL, EXACT = "All", "ExactCount"
STEPS = 20_000
"""Most devices that are looked at for one pod on one node before it is given up."""


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """A device that a driver offers.

    Attributes:
        id: Driver, pool and name.
        device: The device.
        slice: Where it is listed.
    """

    id: DeviceId
    device: resource_v1.Device
    slice: resource_v1.ResourceSliceSpec


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What one claim asks for.

    Attributes:
        claim: Not allocated yet.
        classes: The classes that it names.
    """

    claim: resource_v1.ResourceClaim
    classes: Mapping[str, resource_v1.DeviceClass]


@dataclass(slots=True)
class _Search:
    free: Callable[[DeviceId], bool]
    offered: Sequence[Offered]
    taken: set[DeviceId] = field(default_factory=set)
    steps: int = 0


Chosen = tuple[str, Offered, Request]
"""Name of the request, device, and the request that it is for."""


def complete(slices: Iterable[resource_v1.ResourceSlice]) -> list[Offered]:
    """Return what is offered by pools of which all slices of the newest generation are there."""
    pools: dict[tuple[str, str], list[resource_v1.ResourceSliceSpec]] = {}
    for one in slices:
        spec = one.spec
        known = pools.setdefault((spec.driver, spec.pool.name), [])
        if known and known[0].pool.generation > spec.pool.generation:
            continue
        if known and known[0].pool.generation < spec.pool.generation:
            known.clear()
        known.append(spec)
    return [
        Offered((driver, pool, device.name), device, spec)
        for (driver, pool), specs in pools.items()
        if len(specs) >= specs[0].pool.resourceSliceCount
        for spec in specs
        for device in spec.devices or ()
    ]


def on_node(offered: Iterable[Offered], node: str, accepts: Callable[[core_v1.NodeSelector], bool]) -> list[Offered]:
    """Return the devices that can be reached from a node; `accepts` tells whether it fulfils a selector."""
    found = []
    for one in offered:
        place: Any = one.device if one.slice.perDeviceNodeSelection else one.slice
        if place.allNodes or place.nodeName == node or (place.nodeSelector and accepts(place.nodeSelector)):
            found.append(one)
    return found


def allocate(
    wanted: Sequence[Wanted], offered: Sequence[Offered], free: Callable[[DeviceId], bool]
) -> list[list[Chosen]] | None:
    """Choose devices for all claims; None if they cannot all be fulfilled.

    Args:
        wanted: The claims.
        offered: What can be reached from the node.
        free: Tells whether a device is nobody's.
    """
    search = _Search(free, offered)
    return _claims(search, wanted, 0)


def _claims(search: _Search, wanted: Sequence[Wanted], index: int) -> list[list[Chosen]] | None:
    if index == len(wanted):
        return []
    for chosen in _requests(search, wanted[index], 0, []):
        rest = _claims(search, wanted, index + 1)
        if rest is not None:
            return [chosen, *rest]
    return None


def _requests(search: _Search, wanted: Wanted, index: int, chosen: list[Chosen]) -> Iterator[list[Chosen]]:
    """Yield the ways in which the requests of a claim from one on can be fulfilled; devices stay taken while one is looked at."""
    spec = asked_of(wanted.claim)
    requests = (spec.requests or []) if spec else []
    if index == len(requests):
        yield list(chosen)
        return
    for name, request in _alternatives(requests[index]):
        cls = wanted.classes[request.deviceClassName]
        for devices in _devices(search, wanted, name, request, cls, chosen):
            yield from _requests(search, wanted, index + 1, [*chosen, *devices])


def _alternatives(request: resource_v1.DeviceRequest) -> Iterator[tuple[str, Request]]:
    if request.exactly is not None:
        yield request.name, request.exactly
    for one in request.firstAvailable or ():
        yield f"{request.name}/{one.name}", one


def _devices(
    search: _Search,
    wanted: Wanted,
    name: str,
    request: Request,
    cls: resource_v1.DeviceClass,
    chosen: list[Chosen],
) -> Iterator[list[Chosen]]:
    """Yield sets of devices for one request."""
    is_admin = bool(getattr(request, "adminAccess", None))
    suitable = [one for one in search.offered if _suits(one, request, cls)]
    if request.allocationMode == ALL:
        found = [(name, one, request) for one in suitable]
        ids = {one.id for one in suitable}
        is_free = is_admin or all(search.free(one.id) and one.id not in search.taken for one in suitable)
        if found and is_free and _holds(wanted, [*chosen, *found]):
            search.taken |= ids if not is_admin else set()
            yield found
            search.taken -= ids if not is_admin else set()
        return
    yield from _some(search, wanted, (name, request, is_admin), suitable, request.count or 1, chosen, [])


def _some(
    search: _Search,
    wanted: Wanted,
    request: tuple[str, Request, bool],
    suitable: Sequence[Offered],
    count: int,
    chosen: list[Chosen],
    mine: list[Chosen],
) -> Iterator[list[Chosen]]:
    if not count:
        yield list(mine)
        return
    name, asked, is_admin = request
    for index, one in enumerate(suitable):
        search.steps += 1
        if search.steps > STEPS:
            return
        if not is_admin and (one.id in search.taken or not search.free(one.id)):
            continue
        more = [*mine, (name, one, asked)]
        if not _holds(wanted, [*chosen, *more]):
            continue
        if not is_admin:
            search.taken.add(one.id)
        yield from _some(search, wanted, request, suitable[index + 1 :], count - 1, chosen, more)
        search.taken.discard(one.id)


def _suits(one: Offered, request: Request, cls: resource_v1.DeviceClass) -> bool:
    for taint in one.device.taints or ():
        accepted = [
            core_v1.Toleration(key=t.key, operator=t.operator, value=t.value, effect=t.effect)
            for t in request.tolerations or ()
        ]
        if taint.effect != "None" and not tolerations.is_tolerated(
            accepted, core_v1.Taint(key=taint.key, effect=taint.effect, value=taint.value)
        ):
            return False
    common = (cls.spec.selectors or ()) if cls.spec else ()
    selectors = [*common, *(request.selectors or ())]
    return all(_selects(selector.cel.expression, one) for selector in selectors if selector.cel is not None)


def _selects(expression: str, one: Offered) -> bool:
    try:
        return _environment().compile(expression).evaluate({"device": _variables(one)}) is True
    except CelError:  # upstream fails the pod; a device on which an expression has no value is not one that it selects
        return False


@cache
def _environment() -> Environment:
    return Environment({"device": DYN})


def _variables(one: Offered) -> dict[str, Any]:
    driver = one.id[0]
    attributes: dict[str, dict[str, Any]] = {}
    for key, attribute in (one.device.attributes or {}).items():
        domain, _, name = key.rpartition("/")
        attributes.setdefault(domain or driver, {})[name] = _value(attribute)
    capacity: dict[str, dict[str, Any]] = {}
    for key, amount in (one.device.capacity or {}).items():
        domain, _, name = key.rpartition("/")
        value = amount["value"] if isinstance(amount, dict) else amount.value
        capacity.setdefault(domain or driver, {})[name] = to_message(to_quantity(str(value)))
    return {
        "driver": driver,
        "attributes": attributes,
        "capacity": capacity,
        "allowMultipleAllocations": bool(one.device.allowMultipleAllocations),
    }


def _value(attribute: Any) -> Any:
    given = attribute if isinstance(attribute, dict) else {
        name: getattr(attribute, name) for name in ("bool", "int", "string", "version")
    }  # fmt: skip
    if given.get("version") is not None:
        return to_message(to_semver(given["version"]))
    return next((given[name] for name in ("string", "int", "bool") if given.get(name) is not None), None)


def _holds(wanted: Wanted, chosen: Sequence[Chosen]) -> bool:
    """Tell whether the constraints of a claim hold for the devices chosen so far."""
    spec = asked_of(wanted.claim)
    for constraint in (spec.constraints or ()) if spec else ():
        among = [
            one
            for name, one, _ in chosen
            if not constraint.requests or {name, name.partition("/")[0]} & {*constraint.requests}
        ]
        if constraint.matchAttribute and not _agree(constraint.matchAttribute, among, same=True):
            return False
        distinct = getattr(constraint, "distinctAttribute", None)
        if distinct and not _agree(distinct, among, same=False):
            return False
    return True


def _agree(name: str, among: Sequence[Offered], *, same: bool) -> bool:
    domain, _, short = name.rpartition("/")
    values = []
    for one in among:
        attributes = one.device.attributes or {}
        found = attributes.get(name)
        if found is None and domain == one.id[0]:
            found = attributes.get(short)
        if found is None:
            return False
        values.append(str(found))
    return len({*values}) <= 1 if same else len({*values}) == len(values)


def result(wanted: Wanted, chosen: Sequence[Chosen], node: str) -> resource_v1.AllocationResult:
    """Return the allocation that is written into a claim."""
    devices = [
        resource_v1.DeviceRequestAllocationResult(
            driver=one.id[0],
            pool=one.id[1],
            device=one.id[2],
            request=name,
            adminAccess=getattr(request, "adminAccess", None),
            tolerations=request.tolerations,
        )
        for name, one, request in chosen
    ]
    config: list[resource_v1.DeviceAllocationConfiguration] = []
    spec = asked_of(wanted.claim)
    for request in (spec.requests or ()) if spec else ():
        for name, asked in _alternatives(request):
            if any(name == used for used, _, _ in chosen):
                cls = wanted.classes[asked.deviceClassName]
                given = (cls.spec.config or ()) if cls.spec else ()
                config += [
                    resource_v1.DeviceAllocationConfiguration(source="FromClass", requests=[name], opaque=one.opaque)
                    for one in given
                ]
    config += [
        resource_v1.DeviceAllocationConfiguration(source="FromClaim", requests=one.requests, opaque=one.opaque)
        for one in ((spec.config or ()) if spec else ())
    ]
    place: core_v1.NodeSelectorTerm | None = None
    if not all(
        (one.device.allNodes if one.slice.perDeviceNodeSelection else one.slice.allNodes) for _, one, _ in chosen
    ):
        place = core_v1.NodeSelectorTerm(
            matchFields=[core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])]
        )
    return resource_v1.AllocationResult(
        devices=resource_v1.DeviceAllocationResult(results=devices, config=config or None),
        nodeSelector=core_v1.NodeSelector(nodeSelectorTerms=[place]) if place else None,
    )


def asked_of(claim: resource_v1.ResourceClaim) -> resource_v1.DeviceClaim | None:
    """Return what a claim asks for."""
    return claim.spec.devices if claim.spec else None


def ids_of(claim: resource_v1.ResourceClaim) -> Iterator[DeviceId]:
    """Yield the devices that are a claim's alone."""
    allocation = claim.status.allocation if claim.status else None
    for one in (allocation.devices.results or ()) if allocation and allocation.devices else ():
        if not one.adminAccess:
            yield one.driver, one.pool, one.device
