"""How many seats a request takes: lists of many objects, and watches that begin with them, take several.

Source: k8s.io/apiserver/pkg/util/flowcontrol/request/list_work_estimator.go (v1.37); lists are served from memory here, so that
what counts is the number of objects stored.
"""

import math

from knarr.apiserver import keys, options
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.store import query as queries

OBJECTS_PER_SEAT = 100
MOST = 10


def estimate(registry: Registry, info: RequestInfo, values: options.Values, most: int) -> int:
    """Return the seats of a request.

    Args:
        registry: Knows how many objects there are.
        info: What is asked for.
        values: The query.
        most: What the priority level lets one request take; 0 means it does not say.
    """
    if info.verb == "watch":
        if not (options.flag(values, "sendInitialEvents") or options.text(values, "resourceVersion") in ("", "0")):
            return 1
    elif info.verb != "list":
        return 1
    if info.name:
        return 1
    resource = registry.scheme.find(info.group, info.version, info.resource)
    if resource is None or not resource.is_stored:
        return 1
    page = registry.store.list(queries.Query(keys.prefix(resource)), limit=1)
    count = len(page.entries) + (page.remaining or 0)
    return min(max(1, math.ceil(count / OBJECTS_PER_SEAT)), min(most or MOST, MOST))
