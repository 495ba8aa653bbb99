"""The log that a script has a container write, worked out when it is read: nothing is stored.

Source: pkg/kubelet/kuberuntime/logs/logs.go (v1.37): the meaning of the options and when following ends.
"""

import math
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime

from knarr.kit.clock import Clock
from knarr.node.logs.read import POLL_S, Options
from knarr.node.runtime.runtime import Container, ContainerState
from knarr.node.simulated.script import Script

LINES_LIMIT = 100_000
"""Most lines read at once: of a long log the newest."""


def lines(script: Script, container: Container, *, first: int, now_s: float) -> Iterator[tuple[int, float, str]]:
    """Yield number, time in seconds since the epoch, and text of the lines written by now.

    Args:
        script: What the container does.
        container: One run of it.
        first: The number of the first line wanted.
        now_s: The present, seconds since the epoch.
    """
    texts = script.directions.logs or ()
    began_s = container.started_at_ns / 1e9
    ended_s = container.finished_at_ns / 1e9 if container.state is ContainerState.EXITED else math.inf
    every_s = script.draw("every")
    until_s = min(now_s, ended_s)
    if not texts or until_s < began_s:
        return
    written = len(texts) if every_s <= 0 else int((until_s - began_s) / every_s) + 1
    for number in range(max(first, written - LINES_LIMIT), written):
        text = texts[number % len(texts)].replace("{n}", str(number))
        yield number, began_s + number * every_s, text


async def read(
    script: Script, find: Callable[[], Container | None], container: Container, options: Options, clock: Clock
) -> AsyncIterator[bytes]:
    """Yield a log in pieces.

    Args:
        script: What the container does.
        find: Gives the container as it is now; None once it is gone.
        container: The run whose log is read.
        options: Which part.
        clock: The time.
    """
    left = options.limit_bytes if options.limit_bytes is not None else math.inf
    first, tail = 0, options.tail
    since_s = options.since.timestamp() if options.since is not None else -math.inf
    while left > 0:
        present = find() or container
        found = [*lines(script, present, first=first, now_s=clock.now().timestamp())]
        first = found[-1][0] + 1 if found else first
        found = [line for line in found if line[1] >= since_s]
        if tail is not None:
            found, tail = found[max(0, len(found) - tail) :], None
        if found and options.stream != "Stderr":
            piece = "".join(_render(line, timestamps=options.timestamps) for line in found).encode()
            piece = piece[: int(min(left, len(piece)))]
            left -= len(piece)
            yield piece
        if not options.follow or present.state is not ContainerState.RUNNING or find() is None:
            return
        await clock.sleep(POLL_S)


def _render(line: tuple[int, float, str], *, timestamps: bool) -> str:
    _, at_s, text = line
    if not timestamps:
        return f"{text}\n"
    return f"{datetime.fromtimestamp(at_s, UTC).strftime('%Y-%m-%dT%H:%M:%S.%f')}000Z {text}\n"
