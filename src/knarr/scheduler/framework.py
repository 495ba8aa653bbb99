"""What plugins are: filters that say which nodes cannot take a pod and why, scores that say which would take it best.

A plugin sees all nodes at once: `rows` names the nodes in question, masks and scores have one entry for each of them.

Upstream counterpart: pkg/scheduler/framework (interface.go; v1.37).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from knarr.scheduler.cluster import Cluster, Mask, Rows
from knarr.scheduler.events import Event
from knarr.scheduler.podfacts import PodFacts

Scores = npt.NDArray[np.float64]

MAX_SCORE = 100


@dataclass(frozen=True, slots=True)
class Rejection:
    """Nodes that a plugin rules out, for one reason.

    Attributes:
        mask: Which of the rows.
        reason: In upstream's words, after "1 ".
        is_final: Whether removing pods from the node would not help.
        is_whole: Whether the reason lies in the pod itself, so that it is told once and not for each node.
    """

    mask: Mask
    reason: str
    is_final: bool = False
    is_whole: bool = False


class Filter(Protocol):
    """A plugin that rules nodes out."""

    name: str

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out rows; a row may be ruled out for several reasons."""

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """Tell whether after an event this plugin may not reject a pod any more that it rejected."""


class Score(Protocol):
    """A plugin that prefers nodes."""

    name: str

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Give each row 0 to MAX_SCORE, more for better ones; None if the pod gives no reason to prefer any."""


def normalized(raw: Scores, *, reverse: bool = False) -> Scores:
    """Stretch scores so that the highest is MAX_SCORE, in whole numbers; `reverse` makes the lowest the best.

    Source: DefaultNormalizeScore in pkg/scheduler/framework/plugins/helper.
    """
    highest = raw.max(initial=0.0)
    if highest == 0:
        return np.full(len(raw), float(MAX_SCORE)) if reverse else raw
    scaled: Scores = np.floor(raw * MAX_SCORE / highest)
    return np.subtract(MAX_SCORE, scaled) if reverse else scaled
