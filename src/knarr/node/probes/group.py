"""The probes of all containers of one pod."""

from collections.abc import Callable, Iterable, Mapping

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.view import Kill
from knarr.node.probes.ask import Target
from knarr.node.probes.prober import Prober, Tools
from knarr.node.runtime.runtime import Container, ContainerState

RUNTIME_PREFIX = "containerd://"


class Group:
    """Runs the probes of those containers that run.

    Args:
        tools: To work with.
    """

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._probers: dict[str, Prober] = {}

    @property
    def started(self) -> frozenset[str]:
        """Ids of containers that have started."""
        return frozenset(id_ for id_, prober in self._probers.items() if prober.is_started)

    @property
    def ready(self) -> frozenset[str]:
        """Ids of containers that are ready."""
        return frozenset(id_ for id_, prober in self._probers.items() if prober.is_ready)

    @property
    def kills(self) -> Mapping[str, Kill]:
        """By id: why a container must be ended."""
        return {id_: prober.kill for id_, prober in self._probers.items() if prober.kill is not None}

    def sync(self, pod: core_v1.Pod, containers: Iterable[Container], ip: str) -> None:
        """Begin probes of containers that run now, and end those of others.

        Args:
            pod: The pod; what its status says of a container that ran before counts until its probe says otherwise.
            containers: All of them.
            ip: The pod's address.
        """
        running = {c.id: c for c in containers if c.state is ContainerState.RUNNING}
        for id_ in self._probers.keys() - running.keys():
            self._probers.pop(id_).stop()
        for id_ in running.keys() - self._probers.keys():
            container = running[id_]
            spec = specs.find_container(pod, container.name)
            if spec is None:
                continue
            known = _known_status(pod, id_)
            self._probers[id_] = Prober(
                Target(spec, id_, ip),
                container.started_at_ns / 1e9,
                self._tools,
                was_ready=known is not None and known.ready,
                was_started=known is not None and bool(known.started),
            )

    def retire(self, ids: Iterable[str]) -> None:
        """Ask containers that are being ended only whether they are still ready."""
        for id_ in ids:
            prober = self._probers.get(id_)
            if prober is not None:
                prober.stop(keep_readiness=True)

    def stop(self) -> None:
        """End all probes."""
        for prober in self._probers.values():
            prober.stop()


def tell_unhealthy(tell: Callable[..., None], pod: Callable[[], core_v1.Pod]) -> Callable[[str, str], None]:
    """Return a function that records that a container of a pod is unhealthy."""

    def unhealthy(container: str, message: str) -> None:
        tell(pod(), "Warning", "Unhealthy", message, container=container)

    return unhealthy


def _known_status(pod: core_v1.Pod, container_id: str) -> core_v1.ContainerStatus | None:
    known = pod.status
    lists = (known.containerStatuses, known.initContainerStatuses) if known is not None else ()
    full = f"{RUNTIME_PREFIX}{container_id}"
    return next((entry for entries in lists for entry in entries or [] if entry.containerID == full), None)
