"""The reconcile loop: changes become keys in a queue, workers reconcile them, failures come back later.

A reconciler is level-based: it is given a key, never the change, and looks at everything anew.

Upstream counterpart: sigs.k8s.io/controller-runtime/pkg/reconcile and pkg/internal/controller; the workers of kube-controller-manager.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from knarr.api import errors
from knarr.control import informer, workqueue
from knarr.control.context import Context
from knarr.kit import metrics
from knarr.kit.backoff import Curve

T = TypeVar("T")

_RECONCILED = metrics.PROCESS.counter(
    "controller_runtime_reconcile_total", "Total number of reconciliations per controller", ("controller", "result")
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Request:
    """What to reconcile.

    Attributes:
        namespace: "" for cluster-wide kinds.
        name: Its name.
    """

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Result:
    """How a reconciliation ended.

    Attributes:
        requeue_after_s: Look again after this long even if nothing changes; None for never.
    """

    requeue_after_s: float | None = None


def itself(obj: Any) -> list[Request]:
    """Return the request to reconcile an object itself."""
    return [Request(*informer.key_of(obj))]


class Reconciler(Protocol):
    """Brings one thing to where it should be."""

    async def reconcile(self, request: Request) -> Result:
        """Look at everything that concerns `request`, take the next step, and say when to look again."""


class Controller:
    """Runs a reconciler over what changes.

    Args:
        name: In logs and metrics.
        reconciler: Does the work.
        context: Informers and clock.
        workers: How many keys are worked on side by side.
        retry: How the delays of a failing key grow.
    """

    def __init__(
        self,
        name: str,
        reconciler: Reconciler,
        context: Context,
        *,
        workers: int = 5,
        retry: Curve = workqueue.RETRY,
    ) -> None:
        self.name = name
        self.reconciler = reconciler
        self._context = context
        self._workers = workers
        self._queue: workqueue.Queue[Request] = workqueue.Queue(context.clock, name=name, retry=retry)
        self._informers: list[informer.Informer[Any]] = []
        self._besides: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def watch(self, kind: type[T], requests: Callable[[T], Iterable[Request]]) -> informer.Informer[T]:
        """Reconcile what `requests` names for each object that comes, changes (as it was and as it is) or goes."""
        return self.watch_changes(kind, _of_both(requests))

    def watch_changes(
        self, kind: type[T], requests: Callable[[T | None, T | None], Iterable[Request]]
    ) -> informer.Informer[T]:
        """Reconcile what `requests(old, new)` names for each change, None standing for absence."""
        return self.follow(self._context.informers.of(kind), requests)

    def follow(
        self, informer: informer.Informer[T], requests: Callable[[T | None, T | None], Iterable[Request]]
    ) -> informer.Informer[T]:
        """As `watch_changes`, on an informer with a selection of its own."""

        def enqueue(old: T | None, new: T | None) -> None:
            for request in requests(old, new):
                self._queue.add(request)

        informer.on_change(enqueue)
        self._informers.append(informer)
        return informer

    def add(self, request: Request) -> None:
        """Reconcile `request` soon."""
        self._queue.add(request)

    def add_after(self, request: Request, delay_s: float) -> None:
        """Reconcile `request` after a delay."""
        self._queue.add_after(request, delay_s)

    def beside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run `work`, which does not end, as long as the workers run."""
        self._besides.append(work)

    async def run(self) -> None:
        """Wait for the informers, then reconcile until cancelled."""
        await self._context.informers.wait_synced()
        async with asyncio.TaskGroup() as group:
            for work in self._besides:
                group.create_task(work(), name=f"{self.name} beside")
            for _ in range(self._workers):
                group.create_task(self._work(), name=f"{self.name} worker")

    async def _work(self) -> None:
        while (request := await self._queue.get()) is not None:
            try:
                await self._reconcile(request)
            finally:
                self._queue.done(request)

    async def _reconcile(self, request: Request) -> None:
        try:
            result = await self.reconciler.reconcile(request)
        except errors.Conflict as err:  # somebody was faster; what they did will be seen on the next look
            logger.debug("%s %s: %s", self.name, request, err)
            self._retry(request)
        except errors.StatusError as err:
            level = logging.WARNING if self._queue.failures(request) > 3 else logging.INFO
            logger.log(level, "%s %s: %s", self.name, request, err)
            self._retry(request)
        except Exception as err:  # this is the supervisor of reconcilers: one bad object must not stop the others
            logger.error("%s %s failed", self.name, request, exc_info=err)
            self._retry(request)
        else:
            _RECONCILED.labels(self.name, "success").add()
            self._queue.forget(request)
            if result.requeue_after_s is not None:
                self._queue.add_after(request, result.requeue_after_s)

    def _retry(self, request: Request) -> None:
        _RECONCILED.labels(self.name, "error").add()
        self._queue.add_rate_limited(request)


def _of_both(requests: Callable[[T], Iterable[Request]]) -> Callable[[T | None, T | None], list[Request]]:
    def both(old: T | None, new: T | None) -> list[Request]:
        found: dict[Request, None] = {}
        for obj in (old, new):
            if obj is not None:
                found.update(dict.fromkeys(requests(obj)))
        return [*found]

    return both
