"""`/containerLogs`: which file, which part of it.

Source: pkg/kubelet/server/server.go getContainerLogs, pkg/kubelet/kubelet_pods.go validateContainerLogStatus (v1.37).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from lightkube.models import core_v1

from knarr.kit.clock import Clock
from knarr.kit.http.messages import Headers, Response
from knarr.node.logs.read import Options, list_files, read_log
from knarr.node.pods import spec as specs
from knarr.node.pods.view import Waiting
from knarr.node.pods.worker import Worker
from knarr.node.runtime.runtime import Container, ContainerState
from knarr.node.server.errors import Declined

Query = Mapping[str, list[str]]


def respond(worker: Worker, name: str, query: Query, clock: Clock) -> Response:
    """Return the answer with a container's log.

    Raises:
        Declined: There is no such container, it has not started, or a parameter makes no sense.
    """
    pod = worker.pod
    if specs.find_container(pod, name) is None:
        raise Declined(404, f'container "{name}" not found in pod "{specs.name_of(pod)}"\n')
    options = parse_options(query, now=clock.now())
    container = choose(worker, name, previous=_flag(query, "previous"))
    path = Path(container.log_path)
    if not list_files(path):
        raise Declined(500, f"failed to try resolving symlinks in path {path}: no such file or directory\n")

    def is_running() -> bool:
        found = next((c for c in worker.observed.containers if c.id == container.id), None)
        return found is not None and found.state in (ContainerState.RUNNING, ContainerState.CREATED)

    body = read_log(path, options, clock, is_running=is_running)
    return Response(200, Headers([("content-type", "text/plain; charset=utf-8")]), body)


def choose(worker: Worker, name: str, *, previous: bool) -> Container:
    """Return the container of that name to read from, as `choose_container` does."""
    waiting = worker.view.waiting if worker.view is not None else {}
    return choose_container(worker.pod, worker.observed.containers, waiting, name, previous=previous)


def choose_container(
    pod: core_v1.Pod, containers: Sequence[Container], waits: Mapping[str, Waiting], name: str, *, previous: bool
) -> Container:
    """Return the container of that name to read from: the present one, the last if it waits, or the one before.

    Args:
        pod: The pod.
        containers: What the runtime has of it, newest first.
        waits: Why containers wait, by name.
        name: Which container.
        previous: Whether to read the run before the present one.

    Raises:
        Declined: It has not started, or has no predecessor.
    """
    pod_name = specs.name_of(pod)
    found = [c for c in containers if c.name == name and c.state is not ContainerState.CREATED]
    waiting = waits.get(name)
    if previous:
        # One that waits for its next start is its own predecessor.
        ended = found if waiting is not None and found and found[0].state is ContainerState.EXITED else found[1:]
        if not ended:
            raise Declined(400, f'previous terminated container "{name}" in pod "{pod_name}" not found\n')
        return ended[0]
    if not found:
        if waiting is not None and waiting.reason == "ErrImagePull":
            raise Declined(400, f'container "{name}" in pod "{pod_name}" is waiting to start: image can\'t be pulled\n')
        if waiting is not None and waiting.reason == "ImagePullBackOff":
            raise Declined(
                400, f'container "{name}" in pod "{pod_name}" is waiting to start: trying and failing to pull image\n'
            )
        init = bool(specs.init_containers(pod))
        reason = waiting.reason if waiting is not None else "PodInitializing" if init else "ContainerCreating"
        raise Declined(400, f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}\n')
    return found[0]


def parse_options(query: Query, *, now: datetime) -> Options:
    """Read the parameters of a log.

    Raises:
        Declined: One makes no sense.
    """
    since = None
    seconds = _number(query, "sinceSeconds", minimum=1)
    if seconds is not None:
        since = now - timedelta(seconds=seconds)
    moment = _value(query, "sinceTime")
    if moment:
        try:
            since = datetime.fromisoformat(moment)
        except ValueError:
            raise Declined(400, f'{{"message": "unable to decode sinceTime {moment}"}}\n') from None
    return Options(
        follow=_flag(query, "follow"),
        tail=_number(query, "tailLines", minimum=0),
        since=since,
        timestamps=_flag(query, "timestamps"),
        limit_bytes=_number(query, "limitBytes", minimum=1),
        stream=_value(query, "stream") or "All",
    )


def _value(query: Query, name: str) -> str:
    return (query.get(name) or [""])[0]


def _flag(query: Query, name: str) -> bool:
    return _value(query, name).lower() in ("true", "1")


def _number(query: Query, name: str, *, minimum: int) -> int | None:
    text = _value(query, name)
    if not text:
        return None
    try:
        number = int(text)
    except ValueError:
        raise Declined(400, f"invalid {name}: {text}\n") from None
    if number < minimum:
        raise Declined(422, f"{name}: Invalid value: {number}: must be greater than or equal to {minimum}\n")
    return number
