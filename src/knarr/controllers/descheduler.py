"""The descheduler: now and then it evicts pods that would be better elsewhere, as far as disruption budgets let it.

Bare clusters lack it; it runs only where it is asked for.

Upstream counterpart: sigs.k8s.io/descheduler (v0.3x).
"""

import logging
from collections.abc import Mapping, Sequence

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client, DeleteOptions, subresources
from knarr.control import Context, informer
from knarr.controllers import deschedule
from knarr.controllers.deschedule_view import Limits, observe

PERIOD_S = 300.0

logger = logging.getLogger(__name__)


async def look(
    client: Client,
    *,
    limits: Limits,
    thresholds: deschedule.Thresholds,
    strategies: Sequence[str] | None = None,
) -> list[deschedule.Eviction]:
    """Read a cluster and name the pods that should move.

    Args:
        client: May list nodes, pods and namespaces.
        limits: What is left alone.
        thresholds: For the use of nodes.
        strategies: Which, by name; None takes all.
    """
    nodes = (await client.list(core_v1.Node)).items
    pods = (await client.list(core_v1.Pod)).items
    namespaces = {informer.key_of(one)[1]: one for one in (await client.list(core_v1.Namespace)).items}

    def labels_of(name: str) -> Mapping[str, str]:
        found = namespaces.get(name)
        return (found.metadata.labels or {}) if found is not None and found.metadata else {}

    return deschedule.plan(observe(nodes, pods, limits, labels_of), thresholds, strategies)


async def evict(client: Client, eviction: deschedule.Eviction) -> str | None:
    """Evict a pod; return why that is refused, or None if it is not.

    Args:
        client: May create evictions.
        eviction: Of which pod.
    """
    namespace, name = informer.key_of(eviction.pod)
    uid = (eviction.pod.metadata.uid or "") if eviction.pod.metadata else ""
    try:
        await subresources.evict(client, namespace, name, options=DeleteOptions(uid=uid))
    except (errors.NotFound, errors.Conflict):
        return None  # it is gone already
    except errors.StatusError as err:
        return str(err)
    return None


class Descheduler:
    """Looks, evicts, waits.

    Args:
        context: Client, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder

    async def run(self) -> None:
        """Work until cancelled; the first look comes after one period, when a cluster that starts has settled."""
        while True:
            await self._clock.sleep(PERIOD_S)
            for eviction in await look(self._client, limits=Limits(), thresholds=deschedule.Thresholds()):
                refused = await evict(self._client, eviction)
                if refused is not None:
                    logger.info("%s stays: %s", "/".join(informer.key_of(eviction.pod)), refused)
                    continue
                text = f"pod evicted from {eviction.node} node by the descheduler: {eviction.why}"
                self._recorder.normal(eviction.pod, eviction.strategy, text)


def build(context: Context) -> Descheduler:
    """Assemble the controller."""
    return Descheduler(context)
