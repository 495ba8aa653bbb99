"""What every kind of volume works with: the pod, its folder, and where contents come from."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.env import Facts


@dataclass(frozen=True, slots=True)
class File:
    """A file of a volume made from API objects.

    Attributes:
        data: Its content.
        mode: Its permissions.
        user: Its owner; None means root.
    """

    data: bytes
    mode: int
    user: int | None = None


Payload = Mapping[str, File]
"""Files by their path within the volume."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A volume that is ready.

    Attributes:
        path: Where it is on the host.
        readonly: Whether containers may only read it, whatever they ask for.
        groups: Supplementary groups that its users need.
    """

    path: Path
    readonly: bool = False
    groups: tuple[int, ...] = ()


class Source(Protocol):
    """Where contents come from. Both raise `VolumeMissing` when the API server does not answer."""

    async def config_map(self, name: str) -> core_v1.ConfigMap | None:
        """Return a ConfigMap of the pod's namespace."""

    async def secret(self, name: str) -> core_v1.Secret | None:
        """Return a Secret of the pod's namespace."""

    async def token(self, audience: str, expiration_s: int) -> str:
        """Return a token of the pod's service account, bound to the pod."""

    async def claim(self, name: str) -> core_v1.PersistentVolume:
        """Return the volume that a claim of the pod's namespace is bound to."""


@dataclass(frozen=True, slots=True)
class Work:
    """One pod's volumes being made.

    Attributes:
        pod: The pod.
        folder: `pods/UID`.
        source: Gives contents.
        facts: For the downward API.
        memory_bytes: What a volume in memory may hold without a limit of its own; 0 leaves it to the kernel.
    """

    pod: core_v1.Pod
    folder: Path
    source: Source
    facts: Facts
    memory_bytes: int = 0

    @property
    def group(self) -> int | None:
        """The pod's fsGroup."""
        context = specs.spec_of(self.pod).securityContext
        return context.fsGroup if context is not None else None

    def place(self, kind: str, name: str) -> Path:
        """Return where a volume of a kind such as "configmap" is."""
        return self.folder / "volumes" / f"kubernetes.io~{kind}" / name


SetUp = Callable[[Work, core_v1.Volume], Awaitable[Mounted]]
"""Makes a volume ready, or brings it up to date; doing it again changes nothing. Raises `VolumeMissing`, `OSError`, `StatusError`."""


@dataclass(slots=True)
class Ready:
    """The volumes of one pod that are ready, by name."""

    mounted: dict[str, Mounted] = field(default_factory=dict)
