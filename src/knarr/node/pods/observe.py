"""What the runtime has of one pod, looked at only where an event or an action says that something changed."""

import contextlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from knarr.node.pods import spec as specs
from knarr.node.runtime.runtime import Container, ContainerState, Runtime, Sandbox

MESSAGE_LIMIT_BYTES = 4096
FALLBACK_BYTES = 2048
FALLBACK_LINES = 80
KEEP_ENDED = 2
"""How many containers of one name are kept: the present one and the one before it."""


def termination_file(folder: Path, name: str, attempt: int) -> Path:
    """Return the host's file behind a container's termination message path."""
    return folder / "containers" / name / f"{attempt:08x}"


class Observed:
    """The sandboxes and containers of one pod, by id.

    Args:
        runtime: Asked for details.
        folder: `pods/UID`: termination messages.
    """

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self._runtime = runtime
        self._folder = folder
        self._sandboxes: dict[str, Sandbox] = {}
        self._containers: dict[str, Container] = {}

    @property
    def sandboxes(self) -> tuple[Sandbox, ...]:
        """Newest first."""
        return tuple(sorted(self._sandboxes.values(), key=lambda s: s.created_at_ns, reverse=True))

    @property
    def containers(self) -> tuple[Container, ...]:
        """Newest first."""
        return tuple(sorted(self._containers.values(), key=lambda c: (c.created_at_ns, c.attempt), reverse=True))

    def __contains__(self, id_: str) -> bool:
        return id_ in self._containers or id_ in self._sandboxes

    async def compare(self, sandboxes: Iterable[Sandbox], containers: Iterable[Container]) -> bool:
        """Take in a complete list of what there is, and look closer at what differs; return whether anything did."""
        listed_sandboxes = {sandbox.id: sandbox for sandbox in sandboxes}
        listed = {container.id: container for container in containers}
        before = (self._sandboxes.copy(), self._containers.copy())
        for gone in self._sandboxes.keys() - listed_sandboxes.keys():
            del self._sandboxes[gone]
        for gone in self._containers.keys() - listed.keys():
            del self._containers[gone]
        for id_, sandbox in listed_sandboxes.items():
            known = self._sandboxes.get(id_)
            if known is None or known.ready != sandbox.ready:
                await self.look_at_sandbox(id_)
        for id_, container in listed.items():
            seen = self._containers.get(id_)
            if seen is None or seen.state is not container.state:
                await self.look_at_container(id_, sandbox_id=container.sandbox_id)
        return before != (self._sandboxes, self._containers)

    async def look_at(self, id_: str) -> None:
        """Look at a sandbox or container that something happened to; one that is not of this pod is passed over."""
        if id_ in self._sandboxes:
            await self.look_at_sandbox(id_)
        elif id_ in self._containers:
            await self.look_at_container(id_, sandbox_id=self._containers[id_].sandbox_id)

    async def look_at_sandbox(self, id_: str) -> None:
        """Look at one sandbox."""
        found = await self._runtime.sandbox_status(id_)
        if found is None:
            self._sandboxes.pop(id_, None)
        else:
            self._sandboxes[id_] = found

    async def look_at_container(self, id_: str, *, sandbox_id: str) -> None:
        """Look at one container."""
        found = await self._runtime.container_status(id_)
        if found is None:
            self._containers.pop(id_, None)
            return
        known = self._containers.get(id_)
        if known is not None and known.state is ContainerState.EXITED:
            return  # nothing comes after; an answer that says otherwise was overtaken
        found = replace(found, sandbox_id=sandbox_id)
        if found.state is ContainerState.EXITED:
            found = replace(found, message=self._termination_message(found))
        self._containers[id_] = found

    def expect(self, container: Container) -> None:
        """Take in a container that was just created, so that what happens to it is noticed."""
        self._containers[container.id] = container

    def has_ended(self, id_: str) -> bool:
        """Tell whether a container or sandbox is known to have ended, or is not known at all."""
        container, sandbox = self._containers.get(id_), self._sandboxes.get(id_)
        if sandbox is not None:
            return not sandbox.ready
        return container is None or container.state is ContainerState.EXITED

    def forget(self, id_: str) -> None:
        """Forget a container or sandbox that was removed."""
        self._containers.pop(id_, None)
        self._sandboxes.pop(id_, None)

    def superfluous(self) -> tuple[list[Container], list[Sandbox]]:
        """Return what may be removed: ended containers that were replaced, and ended sandboxes that hold none."""
        kept: dict[str, int] = {}
        containers = []
        for container in self.containers:
            kept[container.name] = kept.get(container.name, 0) + 1
            if kept[container.name] > KEEP_ENDED and container.state is ContainerState.EXITED:
                containers.append(container)
        removed = {container.id for container in containers}
        used = {container.sandbox_id for container in self.containers if container.id not in removed}
        old = [s for s in self.sandboxes[1:] if not s.ready and s.id not in used]
        return containers, old

    def _termination_message(self, container: Container) -> str:
        text = ""
        if container.annotations.get(specs.TERMINATION_PATH):
            attempt = int(container.annotations.get(specs.RESTART_COUNT) or container.attempt)
            text = _read_head(termination_file(self._folder, container.name, attempt))
        fallback = container.annotations.get(specs.TERMINATION_POLICY) == "FallbackToLogsOnError"
        if not text and fallback and container.exit_code and container.log_path:
            text = _read_log_tail(Path(container.log_path))
        return f"{container.message}: {text}" if container.message and text else container.message or text


def _read_head(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(MESSAGE_LIMIT_BYTES).decode(errors="replace")
    return ""


def _read_log_tail(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 8 * FALLBACK_BYTES))
        lines = file.read().splitlines()[-FALLBACK_LINES:]
        parts = [line.split(b" ", 3) for line in lines if line.count(b" ") >= 3]
        # A tag that begins with P marks a part of a line: what comes next goes on in it.
        texts = [text if tags.startswith(b"P") else text + b"\n" for _, _, tags, text in parts]
        return b"".join(texts)[-FALLBACK_BYTES:].decode(errors="replace")
    return ""
