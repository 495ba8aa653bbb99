"""Informers: what the API holds of a kind, kept up to date in memory by a list and a watch, shared by all who ask.

A watch is resumed after the last revision seen; when the server no longer remembers it (410), everything is listed again and the
difference is told as changes. Handlers run on the event loop, in the order of the changes, and must not block.

Cached objects are shared: never change them (use `msgspec.structs.replace`). Their managedFields are dropped.

Upstream counterpart: k8s.io/client-go/tools/cache (reflector.go, shared_informer.go, thread_safe_store.go; v1.37).
"""

import asyncio
import builtins
import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from knarr.api import errors, fields
from knarr.client import Client, Selection, watch
from knarr.client.kinds import Kind
from knarr.control import sharing
from knarr.kit.backoff import Backoff, Curve
from knarr.kit.clock import Clock, SystemClock
from knarr.kit.tasks import Supervisor

T = TypeVar("T")

RETRY = Curve(first_s=0.1, limit_s=5.0, jitter=0.5)
"""Between attempts to reach the server; half a minute, upstream's limit, is long for a server that restarts in seconds."""
WATCH_TIMEOUT_S = 300
"""Shortest life of a watch; up to as much again is added by chance, so that watches do not end together."""
MISSING_S = 60.0
"""How often an API server that does not serve the kind (an older one, say) is asked again."""
EARLY_END_S = 1.0
"""A watch that ends sooner and told nothing counts as a failure."""

READABLE = frozenset({"status.phase", "spec.nodeName"})
"""Selectable fields that are plain strings in typed objects."""

Change = Callable[[T | None, T | None], None]
Selector = Callable[[Mapping[str, str]], bool]
Index = Callable[[T], Iterable[str]]

logger = logging.getLogger(__name__)


class Informer(Generic[T]):
    """The objects of one kind, as far as they are selected.

    Made by `Informers.of`.
    """

    def __init__(self, client: Client, kind: Kind[T], selection: Selection, *, clock: Clock, random: Random) -> None:
        self.kind = kind
        self.selection = selection
        self._client = client
        self._clock = clock
        self._random = random
        self._objects: dict[str, dict[str, T]] = {}
        self._handlers: list[Change[T]] = []
        self._indexes: dict[str, tuple[Index[T], dict[str, dict[tuple[str, str], T]]]] = {}
        self._synced = asyncio.Event()
        self._revision = ""
        self._is_missing = False
        self._pool = sharing.Pool()

    @property
    def is_synced(self) -> bool:
        """Whether all objects have been read once."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait until all objects have been read once."""
        await self._synced.wait()

    def get(self, namespace: str, name: str) -> T | None:
        """Return an object; the namespace of cluster-wide kinds is ""."""
        return self._objects.get(namespace, {}).get(name)

    def list(self, namespace: str = "", selector: Selector | None = None) -> list[T]:
        """Return the objects of a namespace, or all for "", whose labels `selector` accepts."""
        found = self._in(namespace)
        if selector is None:
            return [*found]
        return [obj for obj in found if selector(_labels(obj))]

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))

    def add_index(self, name: str, index: Index[T]) -> None:
        """Keep objects findable by the values that `index` gives; an index of that name that exists stays."""
        if name in self._indexes:
            return
        self._indexes[name] = (index, {})
        for obj in self._in(""):
            self._index_one(name, None, obj)

    def by_index(self, name: str, value: str) -> builtins.list[T]:
        """Return the objects that the index has under a value."""
        return [*self._indexes[name][1].get(value, {}).values()]

    def on_change(self, handler: Change[T]) -> None:
        """Call `handler(old, new)` on each change, None standing for absence; it is first told of what is there already."""
        self._handlers.append(handler)
        for obj in [*self._in("")]:
            handler(None, obj)

    async def run(self) -> None:
        """Follow the API until cancelled."""
        backoff = Backoff(RETRY, self._clock, self._random, reset_after_s=60.0)
        while True:
            began_s, before = self._clock.monotonic_s(), self._revision
            try:
                if not self._revision:
                    await self._list()
                await self._follow()
            except errors.Gone:
                self._revision = ""
                continue
            except errors.StatusError as err:
                if err.code == errors.NotFound.code:
                    self._miss()
                    await self._clock.sleep(MISSING_S)
                    continue
                logger.log(_severity(err, backoff), "%s: %s", self.kind.resource.qualified, err)
                await backoff.sleep()
                continue
            if self._revision == before and self._clock.monotonic_s() - began_s < EARLY_END_S:
                await backoff.sleep()

    def _miss(self) -> None:
        """Take a kind that is not served as one without objects: whoever waits for it has the rest of its work to do."""
        if not self._is_missing:
            resource = self.kind.resource
            name = f"{resource.api_version} {resource.plural}"
            logger.warning("%s: not served by this API server; taken as none, asked again each minute", name)
        self._is_missing, self._revision = True, ""
        for obj in [*self._in("")]:
            self._forget(obj)
        self._synced.set()

    async def _list(self) -> None:
        page = await self._client.list(self.kind, self.selection)
        self._is_missing = False
        fresh = {key_of(obj): obj for obj in page.items}
        for obj in [*self._in("")]:
            if key_of(obj) not in fresh:
                self._forget(obj)
        for obj in fresh.values():
            self._take(obj)
        self._revision = page.revision
        self._synced.set()

    async def _follow(self) -> None:
        timeout_s = WATCH_TIMEOUT_S + int(self._random.random() * WATCH_TIMEOUT_S)
        events = self._client.watch(self.kind, self.selection, revision=self._revision, timeout_s=timeout_s)
        async with contextlib.aclosing(events):
            async for event in events:
                if event.type == watch.DELETED and event.object is not None:
                    self._forget(event.object)
                elif event.object is not None:
                    self._take(event.object)
                self._revision = event.revision or self._revision

    def _take(self, new: T) -> None:
        strip(new)
        self._pool.share(new)
        self._put(new)

    def _put(self, new: T) -> None:
        namespace, name = key_of(new)
        place = self._objects.setdefault(namespace, {})
        old = place.get(name)
        if old is not None and watch.revision_of(old) == watch.revision_of(new) != "":
            return
        place[name] = new
        self._tell(old, new)

    def _forget(self, last: T) -> None:
        namespace, name = key_of(last)
        place = self._objects.get(namespace, {})
        old = place.pop(name, None)
        if not place:
            self._objects.pop(namespace, None)
        if old is not None:
            self._tell(old, None)

    def _tell(self, old: T | None, new: T | None) -> None:
        for name in self._indexes:
            self._index_one(name, old, new)
        for handler in self._handlers:
            try:
                handler(old, new)
            except Exception as err:  # a border: one handler's mistake must not keep the others from hearing
                logger.error("a handler of %s failed", self.kind.resource.qualified, exc_info=err)

    def _index_one(self, name: str, old: T | None, new: T | None) -> None:
        index, entries = self._indexes[name]
        before = set(index(old)) if old is not None else set()
        after = set(index(new)) if new is not None else set()
        for value in before - after:
            assert old is not None
            found = entries.get(value, {})
            found.pop(key_of(old), None)
            if not found:
                entries.pop(value, None)
        for value in after:
            assert new is not None
            entries.setdefault(value, {})[key_of(new)] = new

    def _in(self, namespace: str) -> Iterator[T]:
        if namespace:
            yield from self._objects.get(namespace, {}).values()
            return
        for place in self._objects.values():
            yield from place.values()


class Part(Informer[T]):
    """Some of the objects of another informer: follows that one instead of the API, and keeps nothing twice.

    Made by `Informers.of`.
    """

    def __init__(self, whole: Informer[T], selection: Selection, picks: Callable[[T], bool]) -> None:
        super().__init__(whole._client, whole.kind, selection, clock=whole._clock, random=whole._random)
        self._whole = whole
        self._picks = picks

    async def run(self) -> None:
        """Follow the other informer until cancelled."""
        self._whole.on_change(self._follow_change)
        try:
            await self._whole.wait_synced()
            self._synced.set()
            await asyncio.get_running_loop().create_future()
        finally:
            self._whole._handlers.remove(self._follow_change)

    def _follow_change(self, old: T | None, new: T | None) -> None:
        if new is not None and self._picks(new):
            self._put(new)
        elif old is not None:
            self._forget(old)


class Informers:
    """A factory that gives everyone who asks for the same objects the same informer.

    An async context manager: leaving it ends the watches.

    Args:
        client: Reads.
        clock: Times retries.
        random: Spreads them.
    """

    def __init__(self, client: Client, clock: Clock | None = None, random: Random | None = None) -> None:
        self._client = client
        self._clock = clock or SystemClock()
        self._random = random or Random()
        self._supervisor = Supervisor("informer", clock=self._clock, random=self._random)
        self._running: dict[tuple[Any, Selection], tuple[Informer[Any], asyncio.Task[None]]] = {}
        self._asked: dict[Informer[Any], None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def of(
        self, kind: type[T] | Kind[T], *, field_selector: str = "", label_selector: str = "", namespace: str = ""
    ) -> Informer[T]:
        """Return the informer of a kind, started if it is new. Call from within the event loop.

        Args:
            kind: A model class, or a `kinds.Kind`.
            field_selector: Only these objects.
            label_selector: Only these objects.
            namespace: Only there; empty means all.
        """
        known = self._client.kinds.of(kind)
        selection = Selection(namespace, label_selector, field_selector)
        entry = self._running.get((known, selection))
        if entry is None:
            made = self._make(known, selection)
            task = self._supervisor.run(known.resource.qualified, made.run)
            entry = self._running[(known, selection)] = (made, task)
        self._asked[entry[0]] = None
        return entry[0]

    def _make(self, kind: Kind[T], selection: Selection) -> Informer[T]:
        whole, picks = self._running.get((kind, Selection())), picker(selection)
        if whole is not None and picks is not None:
            return Part(whole[0], selection, picks)
        return Informer(self._client, kind, selection, clock=self._clock, random=self._random)

    def view(self) -> "Informers":
        """Return a factory of the same informers whose `wait_synced` waits only for those that were asked of it."""
        made = Informers(self._client, self._clock, self._random)
        made._supervisor, made._running = self._supervisor, self._running
        return made

    async def stop(self, informer: Informer[Any]) -> None:
        """End one informer's watch, because its kind is no longer served; its objects stay as they were last."""
        self._asked.pop(informer, None)
        entry = self._running.pop((informer.kind, informer.selection), None)
        if entry is not None:
            entry[1].cancel()
            await asyncio.wait([entry[1]])

    async def wait_synced(self) -> None:
        """Wait until every informer asked for so far has read all its objects once."""
        for informer in [*self._asked]:
            await informer.wait_synced()

    @property
    def unsynced(self) -> list[str]:
        """The kinds that have not been read yet; feeds readiness checks."""
        return [informer.kind.resource.qualified for informer in self._asked if not informer.is_synced]

    async def aclose(self) -> None:
        """End all watches."""
        await self._supervisor.aclose()


def key_of(obj: Any) -> tuple[str, str]:
    """Return namespace and name of an object, typed or dict."""
    if isinstance(obj, dict):
        meta = obj.get("metadata") or {}
        return meta.get("namespace") or "", meta.get("name") or ""
    return obj.metadata.namespace or "", obj.metadata.name or ""


def picker(selection: Selection) -> Callable[[Any], bool] | None:
    """Return what tells whether a typed object is selected, or None if only the server can tell.

    Args:
        selection: Some objects of a kind, by fields that are read here as the server reads them.
    """
    selector = fields.parse(selection.fields)
    paths = {term.field: term.field.split(".") for term in selector.requirements}
    if selection.labels or selection.namespace or not paths or not paths.keys() <= READABLE:
        return None

    def picks(obj: Any) -> bool:
        return selector.matches({name: _read(obj, path) for name, path in paths.items()})

    return picks


def _read(obj: Any, path: Iterable[str]) -> str:
    for part in path:
        obj = getattr(obj, part, None)
    return obj or ""


def strip(obj: Any) -> None:
    """Drop what nobody reads from a cache and what takes much room: managedFields."""
    if isinstance(obj, dict):
        obj.get("metadata", {}).pop("managedFields", None)
    elif getattr(obj.metadata, "managedFields", None) is not None:
        obj.metadata.managedFields = None


def _labels(obj: Any) -> Mapping[str, str]:
    if isinstance(obj, dict):
        return (obj.get("metadata") or {}).get("labels") or {}
    return obj.metadata.labels or {}


def _severity(err: errors.StatusError, backoff: Backoff) -> int:
    # The server's start and restart are no news; that it stays away is.
    return logging.WARNING if backoff.failures > 3 or err.code in (401, 403) else logging.DEBUG
