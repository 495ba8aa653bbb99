"""All nodes and what runs on them, as arrays: one row a node, one column a fact.

Fed by events one node or pod at a time, read by the plugins for all nodes at once. A cycle never waits in the middle, so nothing changes
under it and no copy is made. Pods whose binding is under way count as if they ran already.

Upstream counterpart: pkg/scheduler/backend/cache and its Snapshot (v1.37).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from lightkube.models import core_v1

from knarr.scheduler import podfacts
from knarr.scheduler.census import Censuses, Counts, Sort
from knarr.scheduler.podfacts import PodFacts

Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Ids = npt.NDArray[np.int32]

ABSENT = 0
"""The id of a label value that is not there."""

CHANGES = 100_000
"""Most changes of rows that are remembered; what was worked out before is worked out anew."""

TaintKey = tuple[str, str, str]


class Cluster:
    """Nodes in rows, resources, taints and labels in columns.

    Attributes:
        index: The row of each node.
        located: The row of each pod.
        censuses: What is counted of the pods.
        epoch: Grows when nodes change, or when too many pods have come and gone to remember which rows they changed.
        changes: The rows on which pods came or went since the epoch began.
    """

    def __init__(self) -> None:
        self.index: dict[str, int] = {}
        self.names: list[str] = []
        self.nodes: list[core_v1.Node | None] = []
        self.pods: list[dict[str, PodFacts]] = []
        self.columns = {podfacts.CPU: 0, podfacts.MEMORY: 1, podfacts.EPHEMERAL: 2}
        self.allocatable = np.zeros((0, 3), np.int64)
        self.requested = np.zeros((0, 3), np.int64)
        self.scored = np.zeros((0, 2), np.int64)
        self.pods_allowed = np.zeros(0, np.int64)
        self.pods_count = np.zeros(0, np.int64)
        self.live = np.zeros(0, np.bool_)
        self.unschedulable = np.zeros(0, np.bool_)
        self.taints: list[core_v1.Taint] = []
        self.tainted = np.zeros((0, 0), np.bool_)
        self.images: dict[str, dict[int, int]] = {}
        self.censuses = Censuses()
        self.epoch = 0
        self.changes: list[int] = []
        self.located: dict[str, int] = {}
        self._taint_columns: dict[TaintKey, int] = {}
        self._labels: dict[str, Ids] = {}
        self._value_ids: dict[str, int] = {}
        self.values: list[str] = [""]
        self._row_images: list[list[str]] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        return int(self.live.sum())

    def rows(self) -> Rows:
        """Return the rows of all nodes."""
        return np.flatnonzero(self.live)

    def set_node(self, node: core_v1.Node) -> None:
        """Take in a node as it is now."""
        assert node.metadata and node.spec
        self.epoch += 1
        row = self._row(node.metadata.name or "")
        self.nodes[row] = node
        self.live[row] = True
        self.unschedulable[row] = bool(node.spec.unschedulable)
        allocatable = (node.status.allocatable or {}) if node.status else {}
        self.allocatable[row] = self.pods_allowed[row] = 0
        for name, quantity in allocatable.items():
            value = podfacts.amount(name, quantity)
            if name == "pods":
                self.pods_allowed[row] = value
            else:
                column = self._column(name)
                self.allocatable[row, column] = value
        self._set_taints(row, node.spec.taints or ())
        self._set_labels(row, node.metadata.labels or {})
        self._set_images(row, (node.status.images or ()) if node.status else ())

    def remove_node(self, name: str) -> None:
        """Take in that a node is gone; its row stays until its pods are gone too."""
        row = self.index.get(name)
        if row is None:
            return
        self.epoch += 1
        self.nodes[row] = None
        self.live[row] = False
        self._set_images(row, ())
        self._release(row)

    def add_pod(self, facts: PodFacts, node_name: str) -> None:
        """Count a pod on a node, in place of what was known of it."""
        known = self.known(facts.uid)
        if known is not None:
            row = self.located[facts.uid]
            if self.names[row] == node_name and known.requests is facts.requests and not facts.is_terminating:
                self.pods[row][facts.uid] = facts  # only its status is another
                return
            self.remove_pod(facts.uid)
        row = self._row(node_name)
        self.located[facts.uid] = row
        self.pods[row][facts.uid] = facts
        self._count(row, facts, 1)

    def everyone(self) -> Iterator[PodFacts]:
        """Yield all pods that are on nodes."""
        for pods in self.pods:
            yield from pods.values()

    def labels(self, row: int) -> Mapping[str, str]:
        """Return the labels of a node."""
        node = self.nodes[row]
        return (node.metadata.labels or {}) if node is not None and node.metadata else {}

    def known(self, uid: str) -> PodFacts | None:
        """Return what is known of a pod that is on a node."""
        row = self.located.get(uid)
        return None if row is None else self.pods[row][uid]

    def remove_pod(self, uid: str) -> PodFacts | None:
        """Take a pod off its node; returns what was known of it."""
        row = self.located.pop(uid, None)
        if row is None:
            return None
        facts = self.pods[row].pop(uid)
        self._count(row, facts, -1)
        if not self.live[row]:
            self._release(row)
        return facts

    def count(self, *sorts: Sort, with_terminating: bool = True) -> Counts:
        """Return how many of the pods that are of all sorts each row has; not to be changed."""
        return self.censuses.count(sorts, with_terminating=with_terminating)

    def label_ids(self, key: str) -> Ids:
        """Return for each row the id of its value of a label, ABSENT where it has none."""
        found = self._labels.get(key)
        return found if found is not None else np.zeros(len(self.names), np.int32)

    def value_id(self, value: str) -> int:
        """Return the id of a label value; -1 if no node has it."""
        return self._value_ids.get(value, -1)

    def request_vector(self, requests: Mapping[str, int]) -> npt.NDArray[np.int64]:
        """Return requests as a row of the resource columns; resources that no node has get a column too."""
        for name in requests:
            self._column(name)
        vector = np.zeros(len(self.columns), np.int64)
        for name, value in requests.items():
            vector[self.columns[name]] = value
        return vector

    def _count(self, row: int, facts: PodFacts, sign: int) -> None:
        for name, value in facts.requests.items():
            column = self._column(name)
            self.requested[row, column] += sign * value
        self.scored[row] += (sign * facts.cpu_score, sign * facts.memory_score)
        self.pods_count[row] += sign
        self.censuses.add(facts, row, sign)
        self.changes.append(row)
        if len(self.changes) > CHANGES:
            self.changes.clear()
            self.epoch += 1

    def _row(self, name: str) -> int:
        row = self.index.get(name)
        if row is not None:
            return row
        if not self._free:
            self._grow()
        row = self._free.pop()
        self.index[name] = row
        self.names[row] = name
        return row

    def _release(self, row: int) -> None:
        if self.pods[row]:
            return
        del self.index[self.names[row]]
        self.names[row] = ""
        for array in (self.allocatable, self.requested, self.scored, self.pods_allowed, self.pods_count):
            array[row] = 0
        self.tainted[row] = False
        for ids in self._labels.values():
            ids[row] = ABSENT
        self._free.append(row)

    def _grow(self) -> None:
        old = len(self.names)
        new = max(8, old * 2)
        extra = new - old
        self.names += [""] * extra
        self.nodes += [None] * extra
        self.pods += [{} for _ in range(extra)]
        self._row_images += [[] for _ in range(extra)]
        self.allocatable, self.requested = _taller(self.allocatable, new), _taller(self.requested, new)
        self.scored, self.tainted = _taller(self.scored, new), _taller(self.tainted, new)
        self.pods_allowed, self.pods_count = _taller(self.pods_allowed, new), _taller(self.pods_count, new)
        self.live, self.unschedulable = _taller(self.live, new), _taller(self.unschedulable, new)
        self._labels = {key: _taller(ids, new) for key, ids in self._labels.items()}
        self._free += range(new - 1, old - 1, -1)
        self.censuses.resize(new)

    def _column(self, resource: str) -> int:
        column = self.columns.get(resource)
        if column is None:
            column = self.columns[resource] = len(self.columns)
            self.allocatable = _wider(self.allocatable)
            self.requested = _wider(self.requested)
        return column

    def _set_taints(self, row: int, taints: Sequence[core_v1.Taint]) -> None:
        columns = []
        for taint in taints:
            key = (taint.key, taint.value or "", taint.effect)
            column = self._taint_columns.get(key)
            if column is None:
                column = self._taint_columns[key] = len(self.taints)
                self.taints.append(taint)
                self.tainted = _wider(self.tainted)
            columns.append(column)
        self.tainted[row] = False
        self.tainted[row, columns] = True

    def _set_labels(self, row: int, labels: Mapping[str, str]) -> None:
        for key, ids in self._labels.items():
            if key not in labels:
                ids[row] = ABSENT
        for key, value in labels.items():
            ids = self._labels.setdefault(key, np.zeros(len(self.names), np.int32))
            number = self._value_ids.get(value)
            if number is None:
                number = self._value_ids[value] = len(self.values)
                self.values.append(value)
            ids[row] = number

    def _set_images(self, row: int, images: Iterable[core_v1.ContainerImage]) -> None:
        for name in self._row_images[row]:
            places = self.images[name]
            places.pop(row, None)
            if not places:
                del self.images[name]
        self._row_images[row] = []
        for image in images:
            for name in image.names or ():
                self.images.setdefault(name, {})[row] = image.sizeBytes or 0
                self._row_images[row].append(name)


def _taller(array: npt.NDArray[Any], rows: int) -> npt.NDArray[Any]:
    grown = np.zeros((rows, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown


def _wider(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.hstack([array, np.zeros((len(array), 1), array.dtype)])
