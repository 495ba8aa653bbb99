"""Explanations for programs that read the API, as a dashboard does: JSON beside the message of a FailedScheduling event.

To explain is far more work than to refuse, so equal pods that are refused alike share an explanation, and a new one is worked out at most
twice a second: what waits is tried again, and told then.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import msgspec

from knarr.kit.clock import Clock
from knarr.scheduler.explain import Explanation
from knarr.scheduler.podfacts import PodFacts

LIMIT = 64
"""Most explanations that are kept."""
PAUSE_S = 0.5
GROUPS, NODES = 20, 10
"""Most groups of nodes, and nodes of each, that are named; all are counted."""


class Explanations:
    """Gives explanations as JSON.

    Args:
        explain: Works one out.
        clock: Tells how long ago the last one was.
    """

    def __init__(self, explain: Callable[[PodFacts], Explanation], clock: Clock) -> None:
        self._explain = explain
        self._clock = clock
        self._known: OrderedDict[tuple[bytes, str], str] = OrderedDict()
        self._last_s = float("-inf")

    def text(self, pod: PodFacts, message: str) -> str:
        """Return why a pod is refused; empty if there were too many before it.

        Args:
            pod: Which.
            message: What its event says: as long as that is the same, so is what was found out about equal pods.
        """
        key = (pod.signature, message)
        known = self._known.get(key)
        if known is None:
            now_s = self._clock.monotonic_s()
            if now_s - self._last_s < PAUSE_S:
                return ""
            self._last_s = now_s
            known = self._known[key] = msgspec.json.encode(to_json(self._explain(pod))).decode()
            if len(self._known) > LIMIT:
                self._known.popitem(last=False)
        self._known.move_to_end(key)
        return known


def to_json(found: Explanation) -> dict[str, Any]:
    """Return an explanation as plain data."""
    groups = [
        {
            "reasons": [{"plugin": plugin, "reason": reason} for plugin, reason in group.reasons],
            "remedies": [*group.remedies],
            "count": len(group.nodes),
            "nodes": [*group.nodes[:NODES]],
        }
        for group in found.groups[:GROUPS]
    ]
    whole = {"plugin": found.whole[0], "reason": found.whole[1]} if found.whole is not None else None
    return {"total": found.total, "fits": [*found.fits[:NODES]], "whole": whole, "groups": groups}
