"""Answers that equal pods share: which nodes can take them and how good those are, corrected only where pods came or went.

Pods of one owner are alike for all plugins that look at a node by itself. What these say of all nodes is worked out for the first such
pod; for the next only the rows that have changed since are worked out again. Any change of a node ends that.

Upstream counterpart: opportunistic batching (KEP-5598; pkg/scheduler/framework/runtime/batch.go, v1.37).
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from knarr.scheduler.cluster import Cluster, Mask, Rows
from knarr.scheduler.framework import Filter, Score, Scores, is_local
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile

LIMIT = 64
"""Most kinds of pods of which answers are kept."""
ANEW = 4
"""When more than one row in this many has changed, all are worked out anew."""


@dataclass(slots=True, eq=False)
class Answers:
    """What the local plugins say of all rows.

    Attributes:
        filters: Which filters these are.
        scores: Which scores, with their weights.
        fits: Which rows none of the filters rules out.
        plain: The weighted sum of the scores that need no normalizing.
        raw: The others: plugin, weight and score.
        epoch: Of the cluster then.
        seen: How many of its changes were taken in.
    """

    filters: Sequence[Filter]
    scores: Sequence[tuple[Score, int]]
    fits: Mask
    plain: npt.NDArray[np.float64]
    raw: Sequence[tuple[Score, int, Scores]]
    epoch: int
    seen: int


class Memory:
    """Keeps answers."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, bytes], Answers] = OrderedDict()

    def answers(self, pod: PodFacts, cluster: Cluster, profile: Profile) -> Answers:
        """Return what the local plugins say of all rows now."""
        filters = [plugin for plugin in profile.filters if is_local(plugin, pod, cluster)]
        scores = [(plugin, weight) for plugin, weight in profile.scores if is_local(plugin, pod, cluster)]
        key = (profile.name, pod.signature)
        known = self._known.get(key)
        if known is not None and known.epoch == cluster.epoch and (known.filters, known.scores) == (filters, scores):
            changed = np.unique(np.array(cluster.changes[known.seen :], np.intp))
            if len(changed) * ANEW <= len(known.fits):
                self._known.move_to_end(key)
                if len(changed):
                    _correct(known, pod, cluster, changed)
                known.seen = len(cluster.changes)
                return known
        known = self._known[key] = _work_out(pod, cluster, filters, scores)
        self._known.move_to_end(key)
        if len(self._known) > LIMIT:
            self._known.popitem(last=False)
        return known


def _work_out(
    pod: PodFacts, cluster: Cluster, filters: Sequence[Filter], scores: Sequence[tuple[Score, int]]
) -> Answers:
    rows = cluster.rows()
    plain = np.zeros(len(cluster.names))
    raw: list[tuple[Score, int, Scores]] = []
    for plugin, weight in scores:
        found = plugin.score(pod, cluster, rows)
        if found is None:
            continue
        if hasattr(plugin, "normalize"):
            whole = np.zeros(len(cluster.names))
            whole[rows] = found
            raw.append((plugin, weight, whole))
        else:
            plain[rows] += weight * found
    fits = np.zeros(len(cluster.names), np.bool_)
    fits[rows] = _fitting(pod, cluster, filters, rows)
    return Answers(filters, scores, fits, plain, raw, cluster.epoch, len(cluster.changes))


def _correct(known: Answers, pod: PodFacts, cluster: Cluster, changed: Rows) -> None:
    known.fits[changed] = cluster.live[changed] & _fitting(pod, cluster, known.filters, changed)
    plain = np.zeros(len(changed))
    for plugin, weight in known.scores:
        if not hasattr(plugin, "normalize"):
            found = plugin.score(pod, cluster, changed)
            if found is not None:
                plain += weight * found
    known.plain[changed] = plain
    for one, _, whole in known.raw:
        found = one.score(pod, cluster, changed)
        whole[changed] = found if found is not None else 0.0


def _fitting(pod: PodFacts, cluster: Cluster, filters: Sequence[Filter], rows: Rows) -> Mask:
    fits = np.ones(len(rows), np.bool_)
    for plugin in filters:
        for rejection in plugin.filter(pod, cluster, rows):
            fits &= ~rejection.mask
    return fits
