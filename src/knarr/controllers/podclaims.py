"""Which claims a pod uses.

Upstream counterpart: pkg/controller/volume/common and k8s.io/component-helpers/storage/ephemeral (v1.37).
"""

from collections.abc import Iterable

from lightkube.models import core_v1

INDEX = "claims"
"""Name of the index that `by_claim` is for."""


def names(pod: core_v1.Pod) -> list[str]:
    """Return the names of a pod's claims, those made for its ephemeral volumes included."""
    found = []
    for volume in (pod.spec.volumes if pod.spec else None) or ():
        if volume.persistentVolumeClaim is not None:
            found.append(volume.persistentVolumeClaim.claimName)
        elif volume.ephemeral is not None:
            found.append(ephemeral_name(pod, volume))
    return found


def ephemeral_name(pod: core_v1.Pod, volume: core_v1.Volume) -> str:
    """Return the name of the claim of an ephemeral volume."""
    return f"{pod.metadata.name if pod.metadata else ''}-{volume.name}"


def by_claim(pod: core_v1.Pod) -> Iterable[str]:
    """Index pods by namespace and name of the claims that they use."""
    namespace = (pod.metadata.namespace or "") if pod.metadata else ""
    return [f"{namespace}/{name}" for name in names(pod)]


def has_node(pod: core_v1.Pod) -> bool:
    """Tell whether a pod has been scheduled."""
    return bool(pod.spec and pod.spec.nodeName)
