"""ImageLocality: prefers nodes that have the pod's images already.

Upstream counterpart: pkg/scheduler/framework/plugins/imagelocality (v1.37).
"""

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.framework import MAX_SCORE, Scores
from knarr.scheduler.podfacts import PodFacts

MIN_BYTES = 23 * 1024 * 1024
MAX_BYTES_A_CONTAINER = 1000 * 1024 * 1024


class ImageLocality:
    """The plugin."""

    name = "ImageLocality"

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        """How many nodes have an image changes with nodes, not with pods."""
        return True

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Prefer nodes by the size of the images there; an image on few nodes counts less, so that pods do not crowd."""
        total = max(1, len(cluster))
        sums = np.zeros(len(cluster.names))
        for image in pod.images:
            places = cluster.images.get(_normalized(image))
            if places:
                spread = len(places) / total
                for row, size_bytes in places.items():
                    sums[row] += int(size_bytes * spread)
        if not sums.any():
            return None
        highest = MAX_BYTES_A_CONTAINER * len(pod.images)
        clipped = np.clip(sums[rows], MIN_BYTES, highest)
        return np.floor(MAX_SCORE * (clipped - MIN_BYTES) / (highest - MIN_BYTES))


def _normalized(image: str) -> str:
    """Return the image with a tag: what names none means latest."""
    return image if image.rfind(":") > image.rfind("/") else f"{image}:latest"
