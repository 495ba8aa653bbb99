"""Which pods are of a kind: those that the same Services and the same controller select.

Upstream counterpart: pkg/scheduler/framework/plugins/helper DefaultSelector (v1.37).
"""

from collections.abc import Mapping
from typing import Any

from lightkube.models import apps_v1, core_v1, meta_v1

from knarr.control import informer, owners, selectors
from knarr.scheduler.podfacts import PodFacts


class Kinship:
    """Looks up what selects a pod.

    Args:
        informers: Of the scheduler.
    """

    def __init__(self, informers: informer.Informers) -> None:
        self._services = informers.of(core_v1.Service)
        self._controllers: Mapping[str, informer.Informer[Any]] = {
            "ReplicaSet": informers.of(apps_v1.ReplicaSet),
            "StatefulSet": informers.of(apps_v1.StatefulSet),
        }
        self._older = informers.of(core_v1.ReplicationController)

    def selector_of(self, pod: PodFacts) -> meta_v1.LabelSelector | None:
        """Return what selects all pods of a pod's kind, or None if nothing does."""
        labels: dict[str, str] = {}
        for service in self._services.list(pod.namespace):
            selector = service.spec.selector if service.spec else None
            if selector and selectors.subset(selector, pod.labels):
                labels |= selector
        expressions: list[meta_v1.LabelSelectorRequirement] = []
        reference = owners.controller_of(pod.pod)
        if reference is not None and reference.kind == "ReplicationController":
            older = self._older.get(pod.namespace, reference.name)
            labels |= (older.spec.selector or {}) if older is not None and older.spec else {}
        elif reference is not None and reference.kind in self._controllers:
            controller = self._controllers[reference.kind].get(pod.namespace, reference.name)
            if controller is not None and controller.spec is not None and controller.spec.selector is not None:
                labels |= controller.spec.selector.matchLabels or {}
                expressions += controller.spec.selector.matchExpressions or []
        if not labels and not expressions:
            return None
        return meta_v1.LabelSelector(matchLabels=labels or None, matchExpressions=expressions or None)
