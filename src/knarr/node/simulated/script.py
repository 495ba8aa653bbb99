"""What a played container does: when it is up, when it is ready, how and when it ends, what it uses and says.

Directions come from three places, the later over the earlier: what is usual (a container runs for ever, one of a Job ends well after a
second, an init container at once, and what has a probe is ready when the first probe would have passed), the first Stage that
fits (see `stages`), and annotations of the pod: `simulated.knarr.dev/exit: 30s` for all of its containers,
`simulated.knarr.dev/exit.web: 30s` for one.

Chance is seeded by the simulation's seed and the pod's uid, so that the order of events does not change what happens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.spec import ContainerSpec
from knarr.node.simulated.durations import NEVER, Range, parse_amount, parse_duration

PREFIX = "simulated.knarr.dev/"
AT_ONCE = Range(0.0, 0.0)
JOB_RUNS = Range(1.0, 1.0)
FOREVER = Range(NEVER, NEVER)


@dataclass(frozen=True, slots=True)
class Directions:
    """What is said about containers; None says nothing.

    Attributes:
        start: Seconds from the pod's arrival until its first container begins.
        ready: Seconds from a container's start until it is ready.
        exit: Seconds from its start until it ends by itself.
        code: Its exit code then.
        reason: And the reason, such as OOMKilled; empty leaves Completed or Error.
        message: And the termination message.
        runs: How many runs end so; later ones go on for ever.
        stop: Seconds that it takes to end when asked to.
        cpu: Cores in use.
        memory: Bytes in use.
        logs: Lines that it writes; `{n}` stands for the line's number.
        every: Seconds between two lines, repeating them; without it all are written at the start.
    """

    start: Range | None = None
    ready: Range | None = None
    exit: Range | None = None
    code: int | None = None
    reason: str | None = None
    message: str | None = None
    runs: int | None = None
    stop: Range | None = None
    cpu: Range | None = None
    memory: Range | None = None
    logs: tuple[str, ...] | None = None
    every: Range | None = None

    def over(self, earlier: "Directions") -> "Directions":
        """Return these, and where they say nothing the earlier ones."""
        said = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        return replace(earlier, **said) if said else earlier


_NAMES = tuple(field.name for field in fields(Directions))
NOTHING = Directions()


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a container, with chance drawn: seconds from its start, infinite for never."""

    ready_s: float
    exit_s: float
    code: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Script:
    """What one container of one pod does. Made by `write`.

    Attributes:
        directions: All that was said, complete.
        seed: Of its chance.
    """

    directions: Directions
    seed: str

    def run(self, attempt: int) -> Run:
        """Return what the container's run number `attempt`, counted from 0, does."""
        said, random = self.directions, Random(f"{self.seed}/{attempt}")
        ends = said.runs is None or attempt < said.runs
        return Run(
            ready_s=(said.ready or AT_ONCE).draw(random),
            exit_s=(said.exit or FOREVER).draw(random) if ends else NEVER,
            code=said.code or 0,
            reason=said.reason or "",
            message=said.message or "",
        )

    def draw(self, name: str) -> float:
        """Return start, stop, cpu, memory or every, as this pod has it."""
        found: Range | None = getattr(self.directions, name)
        return found.draw(Random(f"{self.seed}/{name}")) if found is not None else 0.0


def write(pod: core_v1.Pod, container: ContainerSpec, staged: Directions, *, seed: int) -> Script:
    """Return what a container does.

    Args:
        pod: Its annotations are read; ones that make no sense are passed over (`check` names them).
        container: One of its containers.
        staged: What a Stage says of it.
        seed: The simulation's.
    """
    said = annotated(pod, container.name).over(staged).over(usual(pod, container))
    return Script(said, f"{seed}/{specs.uid_of(pod)}/{container.name}")


def usual(pod: core_v1.Pod, container: ContainerSpec) -> Directions:
    """Return what a container does of which nothing is said."""
    probes = (container.startupProbe, container.readinessProbe)
    delay_s = float(max((probe.initialDelaySeconds or 0 for probe in probes if probe is not None), default=0))
    ready = Range(delay_s, delay_s)
    if any(container is one for one in specs.init_containers(pod)) and not specs.is_sidecar(container):
        return Directions(ready=ready, exit=AT_ONCE)
    owners = (pod.metadata.ownerReferences if pod.metadata is not None else None) or []
    of_job = any(owner.kind == "Job" and owner.controller for owner in owners)
    return Directions(ready=ready, exit=JOB_RUNS if of_job and not specs.is_sidecar(container) else FOREVER)


def annotated(pod: core_v1.Pod, container: str) -> Directions:
    """Return what a pod's annotations say of one container."""
    annotations = (pod.metadata.annotations if pod.metadata is not None else None) or {}
    said: dict[str, Any] = {}
    for suffix in ("", f".{container}"):
        for name, parse in _PARSERS.items():
            text = annotations.get(f"{PREFIX}{name}{suffix}")
            if text is not None:
                try:
                    said[name] = parse(text)
                except ValueError:
                    continue
    return Directions(**said) if said else NOTHING


def check(pod: core_v1.Pod) -> list[str]:
    """Return what is wrong with a pod's annotations, a sentence each."""
    found = []
    names = {container.name for container in specs.all_containers(pod)}
    for key, text in ((pod.metadata.annotations if pod.metadata is not None else None) or {}).items():
        if not key.startswith(PREFIX):
            continue
        name, dot, container = key.removeprefix(PREFIX).partition(".")
        if name not in _PARSERS:
            found.append(f"{key}: unknown; expected one of {', '.join(_PARSERS)}")
        elif dot and container not in names:
            found.append(f"{key}: the pod has no container {container!r}")
        else:
            try:
                _PARSERS[name](text)
            except ValueError as err:
                found.append(f"{key}: {err}")
    return found


def parse(said: Mapping[str, Any]) -> Directions:
    """Read directions written as a mapping.

    Raises:
        ValueError: One of them makes no sense.
    """
    found: dict[str, Any] = {}
    for name, value in said.items():
        if name not in _PARSERS:
            raise ValueError(f"{name}: unknown; expected one of {', '.join(_PARSERS)}")
        try:
            found[name] = (
                tuple(map(str, value)) if name == "logs" and isinstance(value, list) else _PARSERS[name](value)
            )
        except ValueError as err:
            raise ValueError(f"{name}: {err}") from None
    return Directions(**found)


def _number(text: Any) -> int:
    try:
        return int(str(text))
    except ValueError:
        raise ValueError(f"{text!r}: expected a whole number") from None


def _lines(text: Any) -> tuple[str, ...]:
    return tuple(str(text).splitlines())


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "start": parse_duration,
    "ready": parse_duration,
    "exit": parse_duration,
    "code": _number,
    "reason": str,
    "message": str,
    "runs": _number,
    "stop": parse_duration,
    "cpu": parse_amount,
    "memory": parse_amount,
    "logs": _lines,
    "every": parse_duration,
}
