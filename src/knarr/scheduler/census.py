"""How many pods of a sort are on each node, counted once and kept up to date: what affinity and spreading ask for all the time.

A census counts the pods that some selectors mean; it begins when it is first asked for and is forgotten when it has not been for long.
Pods that no selector tells apart are kept together and found by their labels, so that neither a new census nor a pod that comes looks at
all the others. The terms of pods that run are kept by term, each with its pods' number on each node, since pods of one owner have the same.

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

    def counts_in(self, pods: "_Alike") -> bool:
        """Tell whether pods are of those that are counted."""
        if pods.are_terminating and not self.with_terminating:
            return False
        return all(
            (namespaces is None or pods.namespace in namespaces) and selectors.matches(selector, pods.labels)
            for namespaces, selector in self.sorts
        )


@dataclass(slots=True, eq=False)
class _Alike:
    """Pods that no selector tells apart.

    Attributes:
        namespace: Where they are.
        labels: What they all have.
        are_terminating: Whether all of them are being deleted; else none is.
        numbers: How many each row has.
        censuses: Those that count them.
    """

    namespace: str
    labels: Mapping[str, str]
    are_terminating: bool
    numbers: dict[int, int]
    censuses: list[_Census]


class _Crowd:
    """All pods on nodes, those that are alike together, by their labels."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, frozenset[tuple[str, str]], bool], _Alike] = {}
        self._by_label: dict[tuple[str, str], dict[_Alike, None]] = {}

    def add(self, pod: PodFacts, row: int, sign: int, censuses: Iterable[_Census]) -> None:
        """Count a pod that came (1) or went (-1), in the censuses that count it too."""
        key = (pod.namespace, frozenset(pod.labels.items()), pod.is_terminating)
        alike = self._known.get(key)
        if alike is None:
            alike = self._known[key] = _Alike(pod.namespace, pod.labels, pod.is_terminating, {}, [])
            alike.censuses += [one for one in censuses if one.counts_in(alike)]
            for pair in pod.labels.items():
                self._by_label.setdefault(pair, {})[alike] = None
        for census in alike.censuses:
            census.counts[row] += sign
        number = alike.numbers.get(row, 0) + sign
        if number:
            alike.numbers[row] = number
            return
        del alike.numbers[row]
        if not alike.numbers:
            del self._known[key]
            for pair in pod.labels.items():
                found = self._by_label[pair]
                del found[alike]
                if not found:
                    del self._by_label[pair]

    def enter(self, census: _Census) -> None:
        """Begin to count in a census."""
        for alike in self._meant(census):
            alike.censuses.append(census)
            for row, number in alike.numbers.items():
                census.counts[row] += number

    def leave(self, census: _Census) -> None:
        """Count no more in a census."""
        for alike in self._meant(census):
            alike.censuses.remove(census)

    def _meant(self, census: _Census) -> list[_Alike]:
        pairs = [
            pair
            for _, selector in census.sorts
            for pair in ((selector.matchLabels or {}).items() if selector is not None else ())
        ]
        nobody: Mapping[_Alike, None] = {}
        some = min((self._by_label.get(pair, nobody) for pair in pairs), key=len, default=None)
        return [one for one in (self._known.values() if some is None else some) if census.counts_in(one)]


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
        self._crowd = _Crowd()
        self._groups: dict[Stance, dict[str, dict[bytes, Group]]] = {stance: {} for stance in Stance}

    def resize(self, rows: int) -> None:
        """Make room for more rows."""
        self._rows = rows
        for census in self._known.values():
            census.counts = _grown(census.counts, rows)
        for stance in Stance:
            for group in self._all(stance):
                group.counts = _grown(group.counts, rows)

    def count(self, sorts: Sequence[Sort], *, with_terminating: bool) -> Counts:
        """Return how many pods that are of all sorts each row has.

        Args:
            sorts: Whom to count.
            with_terminating: Whether pods that are being deleted count.
        """
        key = msgspec.json.encode([(sorted(where) if where is not None else None, what) for where, what in sorts])
        known = self._known.get((key, with_terminating))
        if known is None:
            known = _Census(sorts, with_terminating, np.zeros(self._rows, np.int64))
            self._crowd.enter(known)
            self._known[key, with_terminating] = known
            if len(self._known) > LIMIT:
                self._crowd.leave(self._known.popitem(last=False)[1])
        self._known.move_to_end((key, with_terminating))
        return known.counts

    def add(self, pod: PodFacts, row: int, sign: int) -> None:
        """Count a pod that came (1) or went (-1)."""
        self._crowd.add(pod, row, sign, self._known.values())
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
