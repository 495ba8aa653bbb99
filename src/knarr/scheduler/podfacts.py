"""What scheduling asks about a pod, worked out once: its requests, ports, constraints.

Upstream counterpart: pkg/scheduler/framework PodInfo; k8s.io/component-helpers/resource PodRequests (v1.37).
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
from lightkube.models import core_v1

from knarr.api import amounts
from knarr.scheduler import terms

CPU, MEMORY, EPHEMERAL = "cpu", "memory", "ephemeral-storage"
DEFAULT_CPU_MILLIS = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a container that asks for nothing counts as in scores."""

Requests = Mapping[str, int]
"""Amounts by resource: CPU in thousandths, all else in units."""

Port = tuple[str, str, int]
"""Protocol, host address ("0.0.0.0" for all), host port."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a container that runs has got.

    Attributes:
        actual: What it was given.
        allocated: What its node has set aside for it.
        is_final: Whether its node has refused what its spec asks for.
    """

    actual: Mapping[str, str]
    allocated: Mapping[str, str]
    is_final: bool


Granted = Mapping[str, Grant]
"""By the container's name."""


@dataclass(frozen=True, slots=True, eq=False)
class PodFacts:
    """A pod as far as scheduling cares.

    Attributes:
        pod: The object.
        uid: Its uid.
        namespace: Where it is.
        name: Its name.
        labels: Its labels.
        priority: Higher goes first, and may displace lower.
        requests: What it asks for.
        cpu_score: CPU in thousandths, with a default for containers that ask for none.
        memory_score: The same in bytes.
        ports: Host ports.
        images: Images of all containers.
        terms: What it wants of other pods.
        signature: Equal for pods that fare alike everywhere.
    """

    pod: core_v1.Pod
    uid: str
    namespace: str
    name: str
    labels: Mapping[str, str]
    priority: int
    requests: Requests
    cpu_score: int
    memory_score: int
    ports: Sequence[Port]
    images: Sequence[str]
    terms: Sequence[terms.Term]
    signature: bytes

    @property
    def spec(self) -> core_v1.PodSpec:
        """The pod's spec."""
        assert self.pod.spec
        return self.pod.spec

    @property
    def is_terminating(self) -> bool:
        """Whether it is being deleted."""
        return self.pod.metadata is not None and self.pod.metadata.deletionTimestamp is not None


def of(pod: core_v1.Pod) -> PodFacts:
    """Work out the facts of a pod."""
    assert pod.metadata and pod.spec
    spec = pod.spec
    containers = [*spec.containers, *(spec.initContainers or ())]
    ports = [
        (port.protocol or "TCP", port.hostIP or "0.0.0.0", port.hostPort)
        for container in containers
        if container in spec.containers or container.restartPolicy == "Always"
        for port in container.ports or ()
        if port.hostPort
    ]
    given = granted(pod)
    requests = _requests(spec, {}, given)
    scored = _requests(spec, {CPU: DEFAULT_CPU_MILLIS, MEMORY: DEFAULT_MEMORY_BYTES}, given)
    images = [container.image or "" for container in containers]
    namespace, labels = pod.metadata.namespace or "", pod.metadata.labels or {}
    return PodFacts(
        pod=pod,
        uid=pod.metadata.uid or "",
        namespace=namespace,
        name=pod.metadata.name or "",
        labels=labels,
        priority=spec.priority or 0,
        requests=requests,
        cpu_score=scored.get(CPU, 0),
        memory_score=scored.get(MEMORY, 0),
        ports=ports,
        images=images,
        terms=terms.of(spec, namespace, labels),
        signature=_signature(spec, (namespace, labels, requests, scored, ports, images)),
    )


def again(known: PodFacts, pod: core_v1.Pod) -> PodFacts:
    """Return the facts of a pod that was known before: worked out anew only if what may change of a pod has."""
    assert pod.spec and pod.metadata
    same = known.spec.containers == pod.spec.containers and granted(known.pod) == granted(pod)
    if same and known.labels == (pod.metadata.labels or {}):
        return replace(known, pod=pod)
    return of(pod)


def _signature(spec: core_v1.PodSpec, more: tuple[object, ...]) -> bytes:
    # Volumes are left out: most pods have one for their token, named at random. The plugins that look at volumes are not local.
    parts = (spec.schedulerName, spec.nodeName, spec.nodeSelector, spec.affinity, spec.tolerations)
    encoded = msgspec.json.encode((parts, spec.topologySpreadConstraints, more))
    return hashlib.blake2b(encoded, digest_size=16).digest()


def amount(resource: str, quantity: str | int | float) -> int:
    """Return a quantity as requests count it."""
    nanos = amounts.nanos(quantity)
    return -(-nanos // 10**6) if resource == CPU else -(-nanos // 10**9)


def granted(pod: core_v1.Pod) -> Granted:
    """Return what containers of a pod that runs have got where that is not what the spec asks for: a resize is under way.

    Source: determineContainerReqs in k8s.io/component-helpers/resource (v1.37; KEP-1287).
    """
    status = pod.status
    if status is None or pod.spec is None or not pod.spec.nodeName:
        return {}
    refused = any(one.type == "PodResizePending" and one.reason == "Infeasible" for one in status.conditions or ())
    asked = {
        one.name: (one.resources.requests or {}) if one.resources else {}
        for one in (*pod.spec.containers, *(pod.spec.initContainers or ()))
    }
    found = {}
    for one in (*(status.containerStatuses or ()), *(status.initContainerStatuses or ())):
        if one.resources is None or one.name not in asked:
            continue
        grant = Grant(one.resources.requests or {}, one.allocatedResources or {}, is_final=refused)
        if not _is_met(grant.actual, asked[one.name]) or not _is_met(grant.allocated, asked[one.name]):
            found[one.name] = grant
    return found


def _is_met(got: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    """Tell whether what was given is what was asked for; what was not told is."""
    return not got or got == asked or _amounts(got) == _amounts(asked)


def _requests(spec: core_v1.PodSpec, defaults: Requests, given: Granted) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _container(container, defaults, given))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.initContainers or ():
        asked = _container(container, defaults, given)
        if container.restartPolicy == "Always":  # stays beside all that starts after it
            _add(total, asked)
            _add(sidecars, asked)
            asked = dict(sidecars)
        else:
            _add(asked, sidecars)
        peak = {name: max(peak.get(name, 0), asked.get(name, 0)) for name in {*peak, *asked}}
    for name, value in peak.items():
        total[name] = max(total.get(name, 0), value)
    whole = (spec.resources.requests or {}) if spec.resources else {}
    total |= {name: amount(name, quantity) for name, quantity in whole.items()}
    _add(total, {name: amount(name, quantity) for name, quantity in (spec.overhead or {}).items()})
    return total


def _container(container: core_v1.Container, defaults: Requests, given: Granted) -> dict[str, int]:
    asked = (container.resources.requests or {}) if container.resources else {}
    grant = given.get(container.name)
    if grant is None:
        return {**defaults, **_amounts(asked)}
    all_of = [_amounts(grant.actual), _amounts(grant.allocated), *([] if grant.is_final else [_amounts(asked)])]
    names = {name for one in all_of for name in one}
    return {**defaults, **{name: max(one.get(name, 0) for one in all_of) for name in names}}


def _amounts(quantities: Mapping[str, str]) -> dict[str, int]:
    return {name: amount(name, quantity) for name, quantity in quantities.items()}


def _add(total: dict[str, int], more: Requests) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value
