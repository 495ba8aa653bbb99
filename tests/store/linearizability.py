"""Is a history of concurrent calls one that a single register, asked one call at a time, could have given?

Wing and Gong's search as Lowe improved it: take, one after the other, calls that began before any call left has ended, undo what leads
nowhere, and never try the same set of calls with the same state twice. A call without an end (its answer was lost) may have taken effect
at any time after it began, or never. Keys are independent of each other, so each is searched by itself.

Source: J. Wing, C. Gong: Testing and Verifying Concurrent Objects (1993); G. Lowe: Testing for linearizability (2017);
the same algorithm as github.com/anishathalye/porcupine.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

NEVER = math.inf
ANYTHING = "?"
"""Found by a write that lost and was not told, or not surely, what it lost to."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one client.

    Attributes:
        key: What it was about.
        kind: "read" or "write".
        start: When it began, on one clock for all.
        end: When its answer came; NEVER if it was lost.
        expected: Of a write: the value that had to stand there; "" for none.
        value: Of a write: the new value, unique in the history; "" deletes.
        found: Of a read: what was there. Of a write that lost: what was there instead.
        is_lost: Of a write: whether it lost.
        revision: What the answer said of the order; 0 if nothing.
        client: Who called.
    """

    key: str
    kind: str
    start: float
    end: float
    expected: str = ""
    value: str = ""
    found: str = ""
    is_lost: bool = False
    revision: int = 0
    client: int = field(default=0, compare=False)


def step(state: str, call: Call) -> str | None:
    """Return the state after a call that gave this answer in this state; None if it cannot have given it."""
    if call.kind == "read":
        return state if call.found == state else None
    if call.is_lost:
        return state if call.found in (state, ANYTHING) and state != call.expected else None
    return call.value if call.expected == state else None


def find_violations(history: Iterable[Call], initial: str = "") -> list[str]:
    """Return the keys whose calls no single register could have answered so."""
    by_key: dict[str, list[Call]] = defaultdict(list)
    for call in history:
        by_key[call.key].append(call)
    return sorted(key for key, calls in by_key.items() if not is_linearizable(calls, initial))


class _Node:
    """A call's beginning or end in a list that is taken apart and put together again."""

    __slots__ = ("call", "index", "is_end", "match", "next", "previous")

    def __init__(self, call: Call | None, index: int, *, is_end: bool) -> None:
        self.call = call
        self.index = index
        self.is_end = is_end
        self.match: _Node | None = None
        self.next: _Node | None = None
        self.previous: _Node | None = None

    def remove(self) -> None:
        assert self.previous is not None
        self.previous.next = self.next
        if self.next is not None:
            self.next.previous = self.previous

    def put_back(self) -> None:
        assert self.previous is not None
        self.previous.next = self
        if self.next is not None:
            self.next.previous = self


def is_linearizable(calls: Sequence[Call], initial: str = "") -> bool:
    """Return whether one register could have answered so."""
    head = _link(calls)
    left = sum(call.end != NEVER for call in calls)
    taken, state = 0, initial
    tried = {(taken, state)}
    path: list[tuple[_Node, str]] = []
    node = head.next
    while left:
        if node is not None and not node.is_end:
            assert node.call is not None
            after = step(state, node.call)
            mark = (taken | 1 << node.index, after)
            if after is None or mark in tried:
                node = node.next
                continue
            tried.add(mark)  # type: ignore[arg-type]
            path.append((node, state))
            taken, state = mark  # type: ignore[assignment]
            left -= node.call.end != NEVER
            if node.match is not None:
                node.match.remove()
            node.remove()
            node = head.next
            continue
        if not path:
            return False
        node, state = path.pop()
        assert node.call is not None
        taken &= ~(1 << node.index)
        left += node.call.end != NEVER
        node.put_back()
        if node.match is not None:
            node.match.put_back()
        node = node.next
    return True


def _link(calls: Sequence[Call]) -> _Node:
    nodes: list[tuple[float, int, _Node]] = []
    for index, call in enumerate(calls):
        begin = _Node(call, index, is_end=False)
        nodes.append((call.start, 0, begin))
        if call.end != NEVER:
            begin.match = _Node(call, index, is_end=True)
            nodes.append((call.end, 1, begin.match))
    head = last = _Node(None, -1, is_end=False)
    for _, _, node in sorted(nodes, key=lambda item: item[:2]):
        last.next, node.previous = node, last
        last = node
    return head


def misordered(history: Iterable[Call]) -> list[tuple[Call, Call]]:
    """Return pairs of writes, over all keys, of which the first was over before the second began, but has the higher revision."""
    written = [call for call in history if call.kind == "write" and not call.is_lost and call.revision]
    events = sorted(
        [(call.start, 1, call) for call in written] + [(call.end, 0, call) for call in written], key=lambda e: e[:2]
    )
    newest: Call | None = None
    wrong = []
    for _, is_start, call in events:
        if is_start and newest is not None and newest.revision >= call.revision:
            wrong.append((newest, call))
        if not is_start and (newest is None or call.revision > newest.revision):
            newest = call
    return wrong
