"""A profile: which plugins take part in which extension point, in which order and with which weight.

Upstream counterpart: pkg/scheduler/profile and framework/runtime (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from knarr.scheduler import framework

DEFAULT_NAME = "default-scheduler"

POINTS = {
    "queueSort": "less",
    "preEnqueue": "pre_enqueue",
    "preFilter": "prefilter",
    "filter": "filter",
    "postFilter": "postfilter",
    "score": "score",
    "reserve": "reserve",
    "permit": "permit",
    "preBind": "prebind",
    "bind": "bind",
    "postBind": "postbind",
}
"""The extension points by their names in a configuration, with the method by which a plugin takes part."""


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """The plugins of one scheduler name.

    Attributes:
        name: Pods choose it by spec.schedulerName.
        queue_sort: Says which pod goes first.
        pre_enqueues: As the rest, in order.
        prefilters: Look at a pod once.
        filters: A node that one rules out is not shown to the next.
        postfilters: The first that makes room ends the search.
        scores: With their weights.
        reserves: Take back in the opposite order.
        permits: All must approve.
        prebinds: All must succeed.
        binds: The first that binds a pod ends the search.
        postbinds: Hear of it.
        plugins: All of them by name.
    """

    name: str
    queue_sort: framework.Less
    pre_enqueues: Sequence[framework.PreEnqueue] = ()
    prefilters: Sequence[framework.PreFilter] = ()
    filters: Sequence[framework.Filter] = ()
    postfilters: Sequence[Any] = ()
    scores: Sequence[tuple[framework.Score, int]] = ()
    reserves: Sequence[framework.Reserve] = ()
    permits: Sequence[framework.Permit] = ()
    prebinds: Sequence[framework.PreBind] = ()
    binds: Sequence[framework.Bind] = ()
    postbinds: Sequence[framework.PostBind] = ()
    plugins: dict[str, framework.Plugin] = field(default_factory=dict)


def assemble(
    name: str, enabled: Sequence[tuple[Any, int]], points: dict[str, Sequence[tuple[Any, int]]] | None = None
) -> Profile:
    """Put a profile together.

    Args:
        name: Its name.
        enabled: Plugins with the weight of their scores, in order; each takes part wherever it has the method.
        points: For some extension points, another list.
    """
    other = points or {}

    def at(point: str) -> Sequence[tuple[Any, int]]:
        listed = other.get(point, enabled)
        return [(plugin, weight) for plugin, weight in listed if hasattr(plugin, POINTS[point])]

    def plain(point: str) -> list[Any]:
        return [plugin for plugin, _ in at(point)]

    everybody = [*enabled, *(one for listed in other.values() for one in listed)]
    return Profile(
        name=name,
        queue_sort=plain("queueSort")[0],
        pre_enqueues=plain("preEnqueue"),
        prefilters=plain("preFilter"),
        filters=plain("filter"),
        postfilters=plain("postFilter"),
        scores=at("score"),
        reserves=plain("reserve"),
        permits=plain("permit"),
        prebinds=plain("preBind"),
        binds=plain("bind"),
        postbinds=plain("postBind"),
        plugins={plugin.name: plugin for plugin, _ in everybody},
    )
