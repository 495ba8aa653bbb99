"""Removing images that no container uses when the disk fills: the longest unused first, until there is room again.

Counterpart: pkg/kubelet/images/image_gc_manager.go (v1.37).
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from knarr.kit.clock import Clock
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, Image, Images, Runtime

LOOK_S = 300.0
HIGH_USE = 0.85
LOW_USE = 0.80
MIN_AGE_S = 120.0

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Record:
    seen_s: float
    used_s: float = 0.0


@dataclass(slots=True)
class Collector:
    """Keeps the disk from filling with images.

    Attributes:
        runtime: Runs containers and keeps images.
        clock: The time.
        use: Returns which share of the images' file system is in use, 0 to 1.
        keep: Images that are never removed, such as the pause image.
    """

    runtime: Any
    clock: Clock
    use: Callable[[], float]
    keep: frozenset[str] = frozenset()
    _records: dict[str, _Record] = field(default_factory=dict)

    async def run(self) -> None:
        """Look every five minutes until cancelled."""
        while True:
            await self.clock.sleep(LOOK_S)
            try:
                await self.look()
            except RuntimeFailure as err:
                logger.debug("image garbage collection: %s", err)

    async def look(self) -> list[str]:
        """Note what is used, and remove images if too much of the disk is in use; return the ids of removed ones."""
        runtime: Runtime = self.runtime
        store: Images = self.runtime
        images = await store.list_images()
        self._note(images, await runtime.list_containers())
        removed: list[str] = []
        if self.use() < HIGH_USE:
            return removed
        for image in self._removable(images):
            if self.use() <= LOW_USE:
                break
            logger.info("removing image %s: the disk is filling", image.tags[0] if image.tags else image.id)
            await store.remove_image(image.id)
            self._records.pop(image.id, None)
            removed.append(image.id)
        return removed

    def _note(self, images: Iterable[Image], containers: Iterable[Container]) -> None:
        now_s = self.clock.monotonic_s()
        used = {name for container in containers for name in (container.image_ref, container.image)}
        present = {}
        for image in images:
            record = self._records.get(image.id) or _Record(now_s)
            if used & {image.id, *image.tags, *image.digests}:
                record.used_s = now_s
            present[image.id] = record
        self._records = present

    def _removable(self, images: Iterable[Image]) -> list[Image]:
        now_s = self.clock.monotonic_s()
        found = [
            image
            for image in images
            if not image.pinned
            and not self.keep & {image.id, *image.tags}
            and self._records[image.id].used_s < now_s
            and now_s - self._records[image.id].seen_s >= MIN_AGE_S
        ]
        return sorted(found, key=lambda image: (self._records[image.id].used_s, self._records[image.id].seen_s))
