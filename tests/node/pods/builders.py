"""Pods and what the runtime has of them, in few words."""

from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.view import View
from knarr.node.runtime.runtime import Container, ContainerState, Sandbox

NS = 1_000_000_000
T0_S = 1_767_225_600  # 2026-01-01


def pod(*, status: dict[str, Any] | None = None, metadata: dict[str, Any] | None = None, **spec: Any) -> core_v1.Pod:
    """Return a pod; a container is given by its name or as a dict."""
    for field in ("containers", "initContainers", "ephemeralContainers"):
        if field in spec:
            spec[field] = [
                {"name": c, "image": "i:1"} if isinstance(c, str) else {"image": "i:1", **c} for c in spec[field]
            ]
    spec.setdefault("containers", [{"name": "c", "image": "i:1"}])
    meta = {"name": "p", "namespace": "ns", "uid": "u", "generation": 1, **(metadata or {})}
    return msgspec.convert({"metadata": meta, "spec": spec, "status": status or {}}, core_v1.Pod)


def sandbox(id_: str = "s0", *, attempt: int = 0, ready: bool = True, ips: tuple[str, ...] = ("10.0.0.9",)) -> Sandbox:
    """Return a sandbox; later attempts are newer."""
    return Sandbox(id_, "p", "ns", "u", attempt, ready, (T0_S + attempt) * NS, ips=ips)


def container(
    name: str = "c",
    *,
    state: ContainerState = ContainerState.RUNNING,
    attempt: int = 0,
    exit_code: int = 0,
    sandbox_id: str = "s0",
    finished_s: float = 0,
    spec: specs.ContainerSpec | None = None,
    reason: str = "",
) -> Container:
    """Return a container with the id NAME-ATTEMPT; later attempts are newer."""
    annotations = {specs.RESTART_COUNT: str(attempt)}
    if spec is not None:
        annotations[specs.CONTAINER_HASH] = specs.container_hash(spec)
    return Container(
        f"{name}-{attempt}",
        sandbox_id,
        name,
        attempt,
        "i:1",
        "sha256:1",
        state,
        (T0_S + attempt) * NS,
        annotations=annotations,
        started_at_ns=(T0_S + attempt) * NS,
        finished_at_ns=int((finished_s or T0_S + 5) * NS) if state is ContainerState.EXITED else 0,
        exit_code=exit_code,
        reason=reason,
    )


def view(of: core_v1.Pod, *containers: Container, sandboxes: tuple[Sandbox, ...] = (), **rest: Any) -> View:
    """Return a view with the containers newest first; running ones count as started and ready unless said otherwise."""
    found = tuple(sorted(containers, key=lambda c: -c.created_at_ns))
    running = frozenset(c.id for c in found if c.state is ContainerState.RUNNING)
    rest = {"started": running, "ready": running, **rest}
    return View(of, sandboxes or (sandbox(),), found, **rest)
