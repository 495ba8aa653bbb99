"""The ConfigMaps and Secrets that pods of this node use, each watched by itself from the first use to the last.

A node may read only what its pods refer to, so there is one watch an object, by name. Users are pods, by uid; each is told when an
object of its own changes.

Counterpart: pkg/kubelet/util/manager watch_based_manager.go (v1.37).
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from lightkube.models import core_v1

from knarr.control.informer import Informer, Informers
from knarr.node.pods.errors import ObjectUnavailable

T = TypeVar("T", core_v1.ConfigMap, core_v1.Secret)

SYNC_TIMEOUT_S = 10.0

Key = tuple[Any, str, str]


@dataclass(slots=True)
class _Watched:
    informer: Informer[Any]
    users: dict[str, set[Callable[[], None]]] = field(default_factory=dict)


class Objects:
    """A cache of single objects.

    Args:
        informers: Watch them.
    """

    def __init__(self, informers: Informers) -> None:
        self._informers = informers
        self._watched: dict[Key, _Watched] = {}
        self._uses: dict[str, set[Key]] = {}

    async def get(
        self, kind: type[T], namespace: str, name: str, *, user: str, on_change: Callable[[], None]
    ) -> T | None:
        """Return an object as the API has it, or None if there is none.

        Args:
            kind: ConfigMap or Secret.
            namespace: Where it is.
            name: Its name.
            user: Uid of the pod that needs it; it is watched until `release`.
            on_change: Called when it changes, comes or goes.

        Raises:
            ObjectUnavailable: The API server did not answer.
        """
        key = (kind, namespace, name)
        watched = self._watched.get(key)
        if watched is None:
            watched = self._watch(key)
        watched.users.setdefault(user, set()).add(on_change)
        self._uses.setdefault(user, set()).add(key)
        try:
            await asyncio.wait_for(watched.informer.wait_synced(), SYNC_TIMEOUT_S)
        except TimeoutError:
            raise ObjectUnavailable(kind.__name__, namespace, name) from None
        found: T | None = watched.informer.get(namespace, name)
        return found

    async def release(self, user: str) -> None:
        """Forget what a pod used, and stop watching what nobody else uses."""
        for key in self._uses.pop(user, ()):
            watched = self._watched[key]
            watched.users.pop(user, None)
            if not watched.users:
                del self._watched[key]
                await self._informers.stop(watched.informer)

    def _watch(self, key: Key) -> _Watched:
        kind, namespace, name = key
        informer = self._informers.of(kind, namespace=namespace, field_selector=f"metadata.name={name}")
        watched = self._watched[key] = _Watched(informer)

        def tell(_old: Any, _new: Any) -> None:
            for on_change in [each for callbacks in watched.users.values() for each in callbacks]:
                on_change()

        informer.on_change(tell)
        return watched
