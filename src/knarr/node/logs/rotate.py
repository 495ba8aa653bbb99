"""Keeping container logs from filling the disk: a file that has grown too large is moved aside and the runtime opens a new one.

Source: pkg/kubelet/logs/container_log_manager.go (v1.37): sizes, names, packing of all but the newest rotated file.
"""

import asyncio
import gzip
import logging
import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from knarr.kit.clock import Clock
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, ContainerState, Runtime

MAX_SIZE_BYTES = 10 << 20
MAX_FILES = 5
LOOK_S = 10.0

logger = logging.getLogger(__name__)


async def rotate_all(containers: Iterable[Container], runtime: Runtime, clock: Clock) -> None:
    """Rotate the logs of those running containers whose file is too large."""
    for container in containers:
        if container.state is not ContainerState.RUNNING or not container.log_path:
            continue
        path = Path(container.log_path)
        try:
            if path.stat().st_size > MAX_SIZE_BYTES:
                await rotate(path, container.id, runtime, now=clock.now())
        except FileNotFoundError:
            continue
        except (OSError, RuntimeFailure) as err:
            logger.warning("rotating %s: %s", path, err)


async def rotate(path: Path, container_id: str, runtime: Runtime, *, now: datetime) -> None:
    """Move a log aside, have the runtime begin a new one, pack and remove older ones.

    Args:
        path: The current file.
        container_id: Whose it is.
        runtime: Writes it.
        now: Names the file that is moved aside.

    Raises:
        RuntimeFailure: The runtime did not open a new one; the old one is in its place again.
    """
    older = sorted(path.parent.glob(f"{path.name}.*"))
    for surplus in older[: max(0, len(older) - (MAX_FILES - 2))]:
        surplus.unlink(missing_ok=True)
    for plain in older[max(0, len(older) - (MAX_FILES - 2)) :]:
        if plain.suffix != ".gz":
            await asyncio.to_thread(_pack, plain)
    aside = path.with_name(f"{path.name}.{now:%Y%m%d-%H%M%S}")
    path.rename(aside)
    try:
        await runtime.reopen_log(container_id)
    except RuntimeFailure:
        aside.rename(path)
        raise


def _pack(path: Path) -> None:
    partial = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as source, gzip.open(partial, "wb") as target:
        shutil.copyfileobj(source, target)
    partial.rename(path.with_name(f"{path.name}.gz"))
    path.unlink()
