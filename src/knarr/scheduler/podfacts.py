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
    requests = _requests(spec, {})
    scored = _requests(spec, {CPU: DEFAULT_CPU_MILLIS, MEMORY: DEFAULT_MEMORY_BYTES})
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
    if known.spec.containers == pod.spec.containers and known.labels == (pod.metadata.labels or {}):
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


def _requests(spec: core_v1.PodSpec, defaults: Requests) -> dict[str, int]:
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _container(container, defaults))
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in spec.initContainers or ():
        asked = _container(container, defaults)
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


def _container(container: core_v1.Container, defaults: Requests) -> dict[str, int]:
    given = (container.resources.requests or {}) if container.resources else {}
    return {**defaults, **{name: amount(name, quantity) for name, quantity in given.items()}}


def _add(total: dict[str, int], more: Requests) -> None:
    for name, value in more.items():
        total[name] = total.get(name, 0) + value
