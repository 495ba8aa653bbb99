"""A scheduler plugin: pods that ask for quiet keep off nodes that are loud, and prefer the quietest."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.events import NODE_EVENTS, Event
from knarr.scheduler.framework import Rejection, Scores, normalized
from knarr.scheduler.plugins.order import Tools
from knarr.scheduler.podfacts import PodFacts

LABEL = "example.com/decibels"


class Quiet:
    """Reads the loudness of nodes from their label.

    Args:
        tools: What the scheduler lets plugins use.
        args: From pluginConfig: `limit`, the loudest that is bearable.
    """

    name = "Quiet"
    events = NODE_EVENTS  # what may help a pod that this plugin rejected

    def __init__(self, tools: Tools, args: Mapping[str, Any]) -> None:
        self._limit = int(args.get("limit", 60))

    def is_local(self, pod: PodFacts, cluster: Cluster) -> bool:
        return True  # a node's loudness is its own: equal pods share the answer

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        if pod.labels.get("example.com/wants") == "quiet":
            yield Rejection(_decibels(cluster, rows) > self._limit, "node(s) were too loud", is_final=True)

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        return _decibels(cluster, rows) if pod.labels.get("example.com/wants") == "quiet" else None

    def normalize(self, scores: Scores) -> Scores:
        return normalized(scores, reverse=True)

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        return event.changes_labels


def _decibels(cluster: Cluster, rows: Rows) -> Scores:
    """Look each value up once, then spread it over the nodes that have it."""
    ids = cluster.label_ids(LABEL)[rows]
    known = {number: float(cluster.values[number] or 0) for number in np.unique(ids)}
    return np.array([known[number] for number in ids])
