"""What plugins are: objects with a name and a method for each extension point that they take part in.

A plugin sees all nodes at once: `rows` names the nodes in question, masks and scores have one entry for each of them. The points, in the
order in which a pod meets them; all but the name are optional:

==================  ==================================================================================================
`less`              queue sort: which of two pods goes first
`pre_enqueue`       whether a pod may be tried at all yet
`prefilter`         once a pod: reject it as a whole, or narrow the nodes down
`filter`            which nodes cannot take it, and why
`postfilter`        no node was left: make room
`score`             which nodes would take it best, `normalize` brings that to 0..MAX_SCORE
`reserve`           note what the pod takes, `unreserve` takes it back
`permit`            approve, deny, or wait
`prebind`           what must be done before it is bound (a coroutine)
`bind`              bind it (a coroutine)
`postbind`          it is bound
==================  ==================================================================================================

`may_help(event, pod)` is the queueing hint: whether a pod that the plugin rejected may pass after an event of one of the kinds in `events`.
`is_local(pod, cluster)` tells whether what the plugin says of a node depends on that node alone: then equal pods share the answer.

Upstream counterpart: pkg/scheduler/framework (interface.go; v1.37).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from knarr.scheduler.cluster import Cluster, Mask, Rows
from knarr.scheduler.events import Event, Kind
from knarr.scheduler.podfacts import PodFacts

Scores = npt.NDArray[np.float64]
State = dict[str, Any]
"""What plugins keep from one extension point to the next, for one try of one pod, by the plugin's name."""

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


@dataclass(frozen=True, slots=True)
class Denied:
    """A plugin does not let a pod pass, for a reason that changes may mend; the pod is unschedulable.

    Attributes:
        reason: In upstream's words.
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Wait:
    """A plugin lets a pod wait at `permit` until it is approved or denied.

    Attributes:
        timeout_s: After this long it is denied.
    """

    timeout_s: float


class Plugin(Protocol):
    """Any plugin."""

    name: str


class Less(Plugin, Protocol):
    """Extension point queueSort; exactly one plugin has it."""

    def less(self, pod: PodFacts, since_s: float) -> tuple[Any, ...]:
        """Return the key by which pods are sorted; `since_s` is when the pod came."""


class PreEnqueue(Plugin, Protocol):
    """Extension point preEnqueue."""

    def pre_enqueue(self, pod: PodFacts) -> Denied | None:
        """Keep a pod from being tried; it is asked again when the pod changes or an event comes that may help."""


class PreFilter(Plugin, Protocol):
    """Extension point preFilter."""

    def prefilter(self, pod: PodFacts, cluster: Cluster, state: State) -> Denied | Rows | None:
        """Reject a pod as a whole, or name the only rows that it could go to, or neither."""


class Filter(Plugin, Protocol):
    """Extension point filter."""

    def filter(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Iterable[Rejection]:
        """Rule out rows; a row may be ruled out for several reasons."""


class Score(Plugin, Protocol):
    """Extension point score."""

    def score(self, pod: PodFacts, cluster: Cluster, rows: Rows) -> Scores | None:
        """Give each row 0 to MAX_SCORE, or anything if there is a `normalize`; None if the pod gives no reason to prefer any."""


class Normalize(Plugin, Protocol):
    """Extension point normalizeScore."""

    def normalize(self, scores: Scores) -> Scores:
        """Bring the scores of the rows that are left to 0..MAX_SCORE, more for better ones."""


class Reserve(Plugin, Protocol):
    """Extension point reserve."""

    def reserve(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Note what the pod takes on a node, or say that it cannot be had."""

    def unreserve(self, pod: PodFacts, node: str, state: State) -> None:
        """Take that back; must not fail, and may be called without `reserve`."""


class Permit(Plugin, Protocol):
    """Extension point permit."""

    def permit(self, pod: PodFacts, node: str, state: State) -> Denied | Wait | None:
        """Approve a pod with None, deny it or let it wait."""


class PreBind(Plugin, Protocol):
    """Extension point preBind."""

    async def prebind(self, pod: PodFacts, node: str, state: State) -> Denied | None:
        """Do what must be done before the pod is bound; raises `api.errors.StatusError` if that fails."""


class Bind(Plugin, Protocol):
    """Extension point bind."""

    async def bind(self, pod: PodFacts, node: str, state: State) -> bool:
        """Bind the pod; False leaves it to the next plugin."""


class PostBind(Plugin, Protocol):
    """Extension point postBind."""

    def postbind(self, pod: PodFacts, node: str, state: State) -> None:
        """Hear that a pod is bound."""


class Hints(Plugin, Protocol):
    """What makes pods that a plugin rejected worth another try."""

    events: frozenset[Kind]

    def may_help(self, event: Event, pod: PodFacts) -> bool:
        """Tell whether after an event this plugin may not reject a pod any more that it rejected."""


def is_local(plugin: Plugin, pod: PodFacts, cluster: Cluster) -> bool:
    """Tell whether what a plugin says of each row depends on that row alone; one that does not say so is taken to look around."""
    ask = getattr(plugin, "is_local", None)
    return bool(ask(pod, cluster)) if ask is not None else False


def normalized(raw: Scores, *, reverse: bool = False) -> Scores:
    """Stretch scores so that the highest is MAX_SCORE, in whole numbers; `reverse` makes the lowest the best.

    Source: DefaultNormalizeScore in pkg/scheduler/framework/plugins/helper.
    """
    highest = raw.max(initial=0.0)
    if highest == 0:
        return np.full(len(raw), float(MAX_SCORE)) if reverse else raw
    scaled: Scores = np.floor(raw * MAX_SCORE / highest)
    return np.subtract(MAX_SCORE, scaled) if reverse else scaled
