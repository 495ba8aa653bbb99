"""One try to place one pod: filter, score, choose. Pure but for the dice that choose among equals.

Upstream counterpart: pkg/scheduler/schedule_one.go (schedulePod) and framework/types.go (FitError; v1.37).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.plugins.order import Order
from knarr.scheduler.podfacts import PodFacts

NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Placed:
    """A node was found."""

    node: str


@dataclass(frozen=True, slots=True, eq=False)
class Unplaced:
    """No node can take the pod now.

    Attributes:
        total: How many nodes there are.
        reasons: How many nodes each reason rules out.
        plugins: Which plugins ruled nodes out.
        preemptible: Rows where removing pods might help.
        whole: Why the pod itself cannot be placed, wherever; empty if it could be.
    """

    total: int
    reasons: Mapping[str, int]
    plugins: frozenset[str]
    preemptible: Rows
    whole: str = ""

    def message(self, after: str = "") -> str:
        """Say why, as upstream does; `after` is what preemption has to say."""
        if not self.total:
            return NO_NODES
        told = (
            f"0/{self.total} nodes are available: {self.whole}."
            if self.whole
            else fit_message(self.total, self.reasons)
        )
        return told + (f" {after}" if after else "")


@dataclass(frozen=True, slots=True, eq=False)
class Filtered:
    """What filters left.

    Attributes:
        rows: Those that can take the pod.
        reasons: How many rows each reason rules out.
        plugins: Which plugins ruled rows out.
        preemptible: Rows where removing pods might help.
        whole: Why the pod itself cannot be placed.
    """

    rows: Rows
    reasons: Counter[str]
    plugins: frozenset[str]
    preemptible: Rows
    whole: str = ""


def fit_message(total: int, reasons: Mapping[str, int]) -> str:
    """Say how many nodes each reason rules out."""
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{total} nodes are available: {told}."


def decide(pod: PodFacts, cluster: Cluster, order: Order, random: Random) -> Placed | Unplaced:
    """Find the best node for a pod, or say why there is none."""
    everywhere = cluster.rows()
    filtered = apply_filters(pod, cluster, order, everywhere)
    if not len(filtered.rows):
        return Unplaced(len(everywhere), filtered.reasons, filtered.plugins, filtered.preemptible, filtered.whole)
    return Placed(cluster.names[_choose(pod, cluster, order, filtered.rows, random)])


def apply_filters(pod: PodFacts, cluster: Cluster, order: Order, rows: Rows) -> Filtered:
    """Let every filter rule out rows; a row that one rules out is not shown to the next."""
    reasons: Counter[str] = Counter()
    plugins: set[str] = set()
    preemptible: list[Rows] = []
    whole = ""
    for plugin in order.filters:
        if not len(rows):
            break
        out = np.zeros(len(rows), np.bool_)
        final = np.zeros(len(rows), np.bool_)
        for rejection in plugin.filter(pod, cluster, rows):
            count = int(rejection.mask.sum())
            if not count:
                continue
            if rejection.is_whole:
                whole = rejection.reason
            reasons[rejection.reason] += count
            out |= rejection.mask
            if rejection.is_final:
                final |= rejection.mask
        if out.any():
            plugins.add(plugin.name)
            preemptible.append(rows[out & ~final])
            rows = rows[~out]
    found = np.concatenate(preemptible) if preemptible else rows[:0]
    return Filtered(rows, reasons, frozenset(plugins), found, whole)


def _choose(pod: PodFacts, cluster: Cluster, order: Order, rows: Rows, random: Random) -> int:
    if len(rows) == 1:
        return int(rows[0])
    total = np.zeros(len(rows))
    for plugin, weight in order.scores:
        scores = plugin.score(pod, cluster, rows)
        if scores is not None:
            total += weight * scores
    return int(rows[random.choice(np.flatnonzero(total == total.max()))])
