"""What EndpointSlices say beside addresses: for whom an endpoint is, and which change they tell of.

Upstream counterpart: staging/src/k8s.io/endpointslice trafficdist/trafficdist.go and trigger_time_tracker.go (v1.37).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import core_v1, discovery_v1

from knarr.controllers import pods as podinfo

NEAR = ("PreferClose", "PreferSameZone")
SAME_NODE = "PreferSameNode"


def hints(distribution: str | None, endpoint: discovery_v1.Endpoint) -> discovery_v1.EndpointHints | None:
    """Return for whom an endpoint is: clients of its zone, or of its node first, as the Service's trafficDistribution says."""
    ready = endpoint.conditions.ready if endpoint.conditions else None
    if ready is False or distribution not in (*NEAR, SAME_NODE):
        return None
    zones = [discovery_v1.ForZone(name=endpoint.zone)] if endpoint.zone else None
    if distribution in NEAR:
        return discovery_v1.EndpointHints(forZones=zones) if zones else None
    if not endpoint.nodeName:
        return None
    return discovery_v1.EndpointHints(forNodes=[discovery_v1.ForNode(name=endpoint.nodeName)], forZones=zones)


@dataclass(slots=True)
class Triggers:
    """When the changes began that a Service's slices have told of so far.

    Attributes:
        service: When the Service was made.
        pods: When each pod last became ready or stopped being so.
    """

    service: datetime | None = None
    pods: dict[str, datetime] = field(default_factory=dict)

    def next(self, service: core_v1.Service, pods: Iterable[core_v1.Pod]) -> datetime | None:
        """Return when the oldest change began that has not been told of, and take it as told; None for none."""
        assert service.metadata
        found = {(pod.metadata.uid or "") if pod.metadata else "": at for pod in pods if (at := _changed_at(pod))}
        fresh = [at for uid, at in found.items() if uid not in self.pods or at > self.pods[uid]]
        created = service.metadata.creationTimestamp
        if created is not None and (self.service is None or created > self.service):
            fresh.append(created)
        self.service, self.pods = created, found
        return min(fresh, default=None)


def format_time(at: datetime) -> str:
    """Write a time as the annotation has it."""
    return at.isoformat().replace("+00:00", "Z")


def _changed_at(pod: core_v1.Pod) -> datetime | None:
    ready = podinfo.condition(pod, "Ready")
    return ready.lastTransitionTime if ready is not None else None
