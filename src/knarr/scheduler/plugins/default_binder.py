"""DefaultBinder: binds pods through the API.

Upstream counterpart: pkg/scheduler/framework/plugins/defaultbinder (v1.37).
"""

from knarr.client import Client, subresources
from knarr.scheduler.framework import State
from knarr.scheduler.podfacts import PodFacts


class DefaultBinder:
    """The plugin.

    Args:
        client: Writes the bindings.
    """

    name = "DefaultBinder"

    def __init__(self, client: Client) -> None:
        self._client = client

    async def bind(self, pod: PodFacts, node: str, state: State) -> bool:
        """Bind the pod."""
        await subresources.bind(self._client, pod.pod, node)
        return True
