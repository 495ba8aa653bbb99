"""What all pod workers share."""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from lightkube.models import core_v1

from knarr.client import Client
from knarr.control import events
from knarr.control.informer import Informer
from knarr.kit.clock import Clock
from knarr.node.images import Puller
from knarr.node.objects import Objects
from knarr.node.pods import spec as specs
from knarr.node.pods.config import NodeFacts
from knarr.node.runtime.runtime import Runtime


@dataclass(frozen=True, slots=True)
class Tools:
    """The node as its pods see it.

    Attributes:
        node: Facts of the node.
        runtime: Runs containers.
        images: Makes images present.
        client: The API, as the node.
        objects: Watched ConfigMaps and Secrets.
        services: All Services, for environment variables.
        recorder: Tells events.
        clock: The time.
        random: Chance.
    """

    node: NodeFacts
    runtime: Runtime
    images: Puller
    client: Client
    objects: Objects
    services: Informer[core_v1.Service]
    recorder: events.Recorder
    clock: Clock
    random: Random

    def tell(self, pod: core_v1.Pod, type_: str, reason: str, message: str, *, container: str = "") -> None:
        """Record an event of a pod, or of one of its containers."""
        path = field_path(pod, container) if container else ""
        self.recorder.event(pod, type_, reason, message, field_path=path)

    def teller(self, pod: core_v1.Pod, container: str) -> Callable[[str, str, str], None]:
        """Return a function that records events of a container."""

        def tell(type_: str, reason: str, message: str) -> None:
            self.tell(pod, type_, reason, message, container=container)

        return tell


def field_path(pod: core_v1.Pod, container: str) -> str:
    """Return where a container stands in its pod, such as "spec.containers{web}"."""
    lists = (
        ("containers", specs.spec_of(pod).containers),
        ("initContainers", specs.init_containers(pod)),
        ("ephemeralContainers", specs.ephemeral_containers(pod)),
    )
    for name, containers in lists:
        if any(entry.name == container for entry in containers):
            return f"spec.{name}{{{container}}}"
    return ""
