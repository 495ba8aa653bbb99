"""One try to place one pod: filter, score, choose. Pure but for the dice that choose among equals.

Upstream counterpart: pkg/scheduler/schedule_one.go (schedulePod) and framework/types.go (FitError; v1.37).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

import numpy as np

from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.equivalence import Answers, Memory
from knarr.scheduler.framework import Denied, Filter, Score, Scores, State
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.profile import Profile

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


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Nodes that can take a pod.

    Attributes:
        rows: These; at least one.
        answers: What the plugins that look at a node by itself say.
    """

    rows: Rows
    answers: Answers


def fit_message(total: int, reasons: Mapping[str, int]) -> str:
    """Say how many nodes each reason rules out."""
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in reasons.items()))
    return f"0/{total} nodes are available: {told}."


def decide(
    pod: PodFacts,
    cluster: Cluster,
    profile: Profile,
    random: Random,
    *,
    memory: Memory | None = None,
    state: State | None = None,
) -> Placed | Unplaced:
    """Find the best node for a pod, or say why there is none.

    Args:
        pod: The pod.
        cluster: Where to.
        profile: The plugins.
        random: Chooses among equals.
        memory: Answers that equal pods share.
        state: What plugins keep for later extension points.
    """
    found = find(pod, cluster, profile, memory or Memory(), {} if state is None else state)
    if isinstance(found, Unplaced):
        return found
    if len(found.rows) == 1:
        return Placed(cluster.names[found.rows[0]])
    total = rate(pod, cluster, profile, found)
    return Placed(cluster.names[pick(found.rows, total, random)])


def find(pod: PodFacts, cluster: Cluster, profile: Profile, memory: Memory, state: State) -> Found | Unplaced:
    """Find the nodes that can take a pod."""
    everywhere = cluster.rows()
    subset: Rows | None = None
    narrowed: list[str] = []
    for plugin in profile.prefilters:
        said = plugin.prefilter(pod, cluster, state)
        if isinstance(said, Denied):
            return Unplaced(len(everywhere), {}, frozenset((plugin.name,)), everywhere[:0], said.reason)
        if said is not None:
            subset = said if subset is None else np.intersect1d(subset, said)
            narrowed.append(plugin.name)
    answers = memory.answers(pod, cluster, profile)
    rows = np.flatnonzero(answers.fits)
    if subset is not None:
        rows = np.intersect1d(rows, subset)
    for one in profile.filters:
        if one in answers.filters or not len(rows):
            continue
        rows = _left(one, pod, cluster, rows)
    if len(rows):
        return Found(rows, answers)
    shown = everywhere if subset is None else np.intersect1d(everywhere, subset)
    filtered = apply_filters(pod, cluster, profile, shown)
    plugins = filtered.plugins
    if len(shown) < len(everywhere):
        plugins |= {*narrowed}
        filtered.reasons[f"node(s) didn't satisfy plugin(s) [{' '.join(narrowed)}]"] += len(everywhere) - len(shown)
    return Unplaced(len(everywhere), filtered.reasons, plugins, filtered.preemptible, filtered.whole)


def rate(pod: PodFacts, cluster: Cluster, profile: Profile, found: Found) -> Scores:
    """Return the weighted sum of the scores of the rows that can take a pod."""
    rows, answers = found.rows, found.answers
    total = answers.plain[rows]
    for plugin, weight, raw in answers.raw:
        total += weight * _normalize(plugin, raw[rows])
    for plugin, weight in profile.scores:
        if (plugin, weight) not in answers.scores:
            scores = plugin.score(pod, cluster, rows)
            if scores is not None:
                total += weight * _normalize(plugin, scores)
    return total


def pick(rows: Rows, total: Scores, random: Random) -> int:
    """Choose one of the best rows."""
    best = np.flatnonzero(total == total.max())
    return int(rows[best[random.randrange(len(best))]])


def apply_filters(pod: PodFacts, cluster: Cluster, profile: Profile, rows: Rows) -> Filtered:
    """Let every filter rule out rows; a row that one rules out is not shown to the next."""
    reasons: Counter[str] = Counter()
    plugins: set[str] = set()
    preemptible: list[Rows] = []
    whole = ""
    for plugin in profile.filters:
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


def _left(plugin: Filter, pod: PodFacts, cluster: Cluster, rows: Rows) -> Rows:
    out = np.zeros(len(rows), np.bool_)
    for rejection in plugin.filter(pod, cluster, rows):
        out |= rejection.mask
    return rows[~out]


def _normalize(plugin: Score, scores: Scores) -> Scores:
    normalize = getattr(plugin, "normalize", None)
    found: Scores = normalize(scores) if normalize is not None else scores
    return found
