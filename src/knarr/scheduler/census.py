"""How many pods of a sort are on each node, counted once and kept up to date: what affinity and spreading ask for all the time.

A census counts the pods that some selectors mean; it begins when it is first asked for and is forgotten when it has not been for long. The
terms of pods that run are kept by term, each with its pods' number on each node, since pods of one owner have the same.

Upstream counterpart: the counts that InterPodAffinity and PodTopologySpread make in PreFilter anew for each pod (v1.37).
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt
from lightkube.models import meta_v1

from knarr.control import selectors
from knarr.scheduler.podfacts import PodFacts
from knarr.scheduler.terms import Stance, Term

LIMIT = 128
"""Most censuses that are kept."""

Counts = npt.NDArray[np.int64]

Sort = tuple[frozenset[str] | None, meta_v1.LabelSelector | None]
"""Namespaces (None for all) and a selector."""


@dataclass(slots=True, eq=False)
class _Census:
    sorts: Sequence[Sort]
    with_terminating: bool
    counts: Counts

    def counts_in(self, pod: PodFacts) -> bool:
        """Tell whether a pod is one of those that are counted."""
        if pod.is_terminating and not self.with_terminating:
            return False
        return all(
            (namespaces is None or pod.namespace in namespaces) and selectors.matches(selector, pod.labels)
            for namespaces, selector in self.sorts
        )


@dataclass(slots=True, eq=False)
class Group:
    """Pods that run and have the same term.

    Attributes:
        term: The term.
        counts: How many such pods each row has.
        total: How many there are.
    """

    term: Term
    counts: Counts
    total: int = 0


class Censuses:
    """What is counted of the pods on nodes."""

    def __init__(self) -> None:
        self._rows = 0
        self._known: OrderedDict[tuple[bytes, bool], _Census] = OrderedDict()
        self._groups: dict[Stance, dict[str, dict[bytes, Group]]] = {stance: {} for stance in Stance}

    def resize(self, rows: int) -> None:
        """Make room for more rows."""
        self._rows = rows
        for census in self._known.values():
            census.counts = _grown(census.counts, rows)
        for stance in Stance:
            for group in self._all(stance):
                group.counts = _grown(group.counts, rows)

    def count(self, sorts: Sequence[Sort], pods: Iterable[tuple[PodFacts, int]], *, with_terminating: bool) -> Counts:
        """Return how many pods that are of all sorts each row has.

        Args:
            sorts: Whom to count.
            pods: Gives all pods with their rows, if this was not asked for before.
            with_terminating: Whether pods that are being deleted count.
        """
        key = msgspec.json.encode([(sorted(where) if where is not None else None, what) for where, what in sorts])
        known = self._known.get((key, with_terminating))
        if known is None:
            known = _Census(sorts, with_terminating, np.zeros(self._rows, np.int64))
            for pod, row in pods:
                if known.counts_in(pod):
                    known.counts[row] += 1
            self._known[key, with_terminating] = known
            if len(self._known) > LIMIT:
                self._known.popitem(last=False)
        self._known.move_to_end((key, with_terminating))
        return known.counts

    def add(self, pod: PodFacts, row: int, sign: int) -> None:
        """Count a pod that came (1) or went (-1)."""
        for census in self._known.values():
            if census.counts_in(pod):
                census.counts[row] += sign
        for term in pod.terms:
            for place in _places(term):
                groups = self._groups[term.stance].setdefault(place, {})
                group = groups.get(term.key)
                if group is None:
                    group = groups[term.key] = Group(term, np.zeros(self._rows, np.int64))
                group.counts[row] += sign
                group.total += sign
                if not group.total:
                    del groups[term.key]
                    if not groups:
                        del self._groups[term.stance][place]

    def groups(self, stance: Stance, namespace: str) -> Iterator[Group]:
        """Yield the terms of pods that run which may mean pods of a namespace."""
        known: Mapping[str, Mapping[bytes, Group]] = self._groups[stance]
        if not known:
            return
        for place in (namespace, ""):
            yield from known.get(place, {}).values()

    @property
    def has_terms(self) -> bool:
        """Whether any pod that runs has terms."""
        return any(self._groups.values())

    def _all(self, stance: Stance) -> Iterator[Group]:
        for groups in self._groups[stance].values():
            yield from groups.values()


def _grown(counts: Counts, rows: int) -> Counts:
    grown = np.zeros(rows, np.int64)
    grown[: len(counts)] = counts
    return grown


def _places(term: Term) -> Iterable[str]:
    """Return under which namespaces a term is found; "" is looked at for all."""
    return ("",) if term.everywhere or term.namespace_selector is not None else term.namespaces
