"""The client: the API's verbs over typed objects.

Kinds are named by their model class (`core_v1.Pod`), or by `kinds.untyped(resource)` for plain dicts. Every method raises the
`knarr.api.errors` error that the server raised, or `client.errors.Unreachable` if no answer came.

Counterpart: k8s.io/client-go/kubernetes and controller-runtime's client (v1.37).
"""

import builtins
import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, TypeVar

import msgspec

from knarr.api import errors
from knarr.api.scheme import BUILT_IN, Scheme
from knarr.client.caller import JSON, Caller, Query
from knarr.client.errors import BadAnswer
from knarr.client.kinds import Kind, Kinds
from knarr.client.transport import Transport
from knarr.client.watch import Event, decode_event, split_lines
from knarr.kit.clock import Clock, SystemClock
from knarr.kit.http.messages import Response

T = TypeVar("T")

PAGE_SIZE = 500
"""Objects asked for at a time in a list, as client-go's pager."""

READY_TIMEOUT_S = 5.0


class PatchType(Enum):
    """How a patch is written: its media type."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Part of a list, or all of it.

    Attributes:
        items: The objects.
        revision: The resource version that the list was read at; a watch goes on from it.
        next: Token of the next page; empty if there is none.
        remaining: How many objects follow, if the server says so.
    """

    items: builtins.list[T]
    revision: str
    next: str = ""
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind.

    Attributes:
        namespace: Only there; empty means all.
        labels: A label selector, such as "app=web,tier!=cache".
        fields: A field selector, such as "spec.nodeName=n1".
    """

    namespace: str = ""
    labels: str = ""
    fields: str = ""

    def to_query(self) -> dict[str, str]:
        """Return the selectors as query parameters."""
        return _given(labelSelector=self.labels, fieldSelector=self.fields)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """How to delete.

    Attributes:
        grace_s: Seconds a pod gets to stop; None takes its own.
        propagation: "Background", "Foreground" or "Orphan"; empty takes the kind's default.
        uid: Delete only the object with this uid.
        revision: Delete only the object at this resource version.
        dry_run: Check, but delete nothing.
    """

    grace_s: int | None = None
    propagation: str = ""
    uid: str = ""
    revision: str = ""
    dry_run: bool = False

    def to_body(self) -> bytes:
        """Return the meta/v1 DeleteOptions; empty if nothing is asked for."""
        options: dict[str, Any] = _given(propagationPolicy=self.propagation)
        if self.grace_s is not None:
            options["gracePeriodSeconds"] = self.grace_s
        preconditions = _given(uid=self.uid, resourceVersion=self.revision)
        if preconditions:
            options["preconditions"] = preconditions
        if self.dry_run:
            options["dryRun"] = ["All"]
        if not options:
            return b""
        return msgspec.json.encode({"kind": "DeleteOptions", "apiVersion": "v1", **options})


_EVERYTHING = Selection()
_PLAINLY = DeleteOptions()


class Client:
    """A client of one API server.

    Args:
        transport: The way there.
        clock: Times retries.
        user_agent: Who calls; the server takes the part before the first "/" as the default field manager.
        scheme: The kinds it knows.
        refused_retries: How often a refused connection is tried again, a second apart.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        clock: Clock | None = None,
        user_agent: str = "knarr",
        scheme: Scheme = BUILT_IN,
        refused_retries: int = 0,
    ) -> None:
        clock = clock or SystemClock()
        self.kinds = Kinds(scheme)
        self.caller = Caller(transport, clock, user_agent=user_agent, refused_retries=refused_retries)

    async def get(self, kind: type[T] | Kind[T], name: str, *, namespace: str = "", revision: str = "") -> T:
        """Read one object.

        Args:
            kind: Its kind.
            name: Its name.
            namespace: Where it is, for namespaced kinds.
            revision: "0" is content with a cached answer; empty reads the newest.

        Raises:
            NotFound: there is none.
        """
        known = self.kinds.of(kind)
        response = await self.caller.send("GET", known.path(namespace, name), query=_given(resourceVersion=revision))
        return _decode(known, response)

    async def list(
        self,
        kind: type[T] | Kind[T],
        selection: Selection = _EVERYTHING,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        page_size: int = PAGE_SIZE,
    ) -> Page[T]:
        """Read all objects of a kind, page by page.

        Args:
            kind: The kind.
            selection: Which of them; `namespace`, `labels` and `fields` say the same in keywords.
            namespace: As in Selection.
            labels: As in Selection.
            fields: As in Selection.
            revision: "0" is content with a cached answer; empty reads the newest.
            page_size: Objects a page; 0 reads all at once.
        """
        chosen = _merge(selection, namespace, labels, fields)
        page = await self.list_page(kind, chosen, limit=page_size, revision=revision)
        if not page.next:
            return page
        items = builtins.list(page.items)
        while page.next:
            try:
                page = await self.list_page(kind, chosen, limit=page_size, token=page.next)
            except errors.Gone:
                # The token outlived the history: only a list in one piece is consistent now.
                return await self.list_page(kind, chosen, limit=0, revision=revision)
            items += page.items
        return Page(items, page.revision)

    async def list_page(
        self,
        kind: type[T] | Kind[T],
        selection: Selection = _EVERYTHING,
        *,
        limit: int = PAGE_SIZE,
        token: str = "",
        revision: str = "",
        match: str = "",
    ) -> Page[T]:
        """Read one page of a list.

        Args:
            kind: The kind.
            selection: Which objects.
            limit: Most objects; 0 means all.
            token: `Page.next` of the page before.
            revision: At or after which resource version to read.
            match: How `revision` is meant: "Exact" or "NotOlderThan".

        Raises:
            Gone: the token or revision is too old.
        """
        known = self.kinds.of(kind)
        query = selection.to_query()
        query |= _given(resourceVersion=revision, resourceVersionMatch=match)
        if limit:
            query["limit"] = str(limit)
        if token:
            query["continue"] = token
        response = await self.caller.send("GET", known.path(selection.namespace), query=query)
        try:
            answer = known.list_decoder.decode(_body(response))
        except msgspec.DecodeError as err:
            raise BadAnswer(f"list of {known.resource.plural}: {err}") from err
        meta = answer.metadata
        return Page(answer.items or [], meta.resourceVersion or "", meta.continue_ or "", meta.remainingItemCount)

    async def watch(
        self,
        kind: type[T] | Kind[T],
        selection: Selection = _EVERYTHING,
        *,
        namespace: str = "",
        labels: str = "",
        fields: str = "",
        revision: str = "",
        timeout_s: int | None = None,
        bookmarks: bool = True,
        initial_events: bool = False,
    ) -> AsyncGenerator[Event[T], None]:
        """Yield the changes of a kind until the server ends the watch. Leave early through `contextlib.aclosing`.

        Args:
            kind: The kind.
            selection: Which objects; `namespace`, `labels` and `fields` say the same in keywords.
            namespace: As in Selection.
            labels: As in Selection.
            fields: As in Selection.
            revision: After which resource version to begin; empty begins with the objects that exist.
            timeout_s: The server ends the watch after this many seconds.
            bookmarks: Ask for BOOKMARK events.
            initial_events: Begin with the objects that exist, then a bookmark with `initial_end` (KEP-3157).

        Raises:
            Gone: the revision is too old: list anew.
        """
        known = self.kinds.of(kind)
        chosen = _merge(selection, namespace, labels, fields)
        query = {"watch": "true", **chosen.to_query(), **_given(resourceVersion=revision)}
        if bookmarks:
            query["allowWatchBookmarks"] = "true"
        if timeout_s is not None:
            query["timeoutSeconds"] = str(timeout_s)
        if initial_events:
            query |= {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        async with (
            self.caller.open_stream("GET", known.path(chosen.namespace), query=query) as streamed,
            contextlib.aclosing(split_lines(streamed.chunks)) as lines,
        ):
            async for line in lines:
                if line:
                    yield decode_event(known, line)

    async def create(
        self,
        obj: T,
        *,
        namespace: str = "",
        kind: Kind[T] | None = None,
        field_manager: str = "",
        dry_run: bool = False,
    ) -> T:
        """Create an object and return it as stored.

        Args:
            obj: The object, a model or a dict.
            namespace: Where, if the object itself does not say.
            kind: Its kind, if its class or its own words do not say.
            field_manager: Owner of its fields; empty takes the user agent's.
            dry_run: Check, but store nothing.

        Raises:
            AlreadyExists: the name is taken.
            Invalid: it does not pass validation.
        """
        known: Kind[T] = kind or self.kinds.of_object(obj)
        path = known.path(_meta(obj, "namespace") or namespace)
        query = _write_query(field_manager, dry_run=dry_run)
        return _decode(known, await self.caller.send("POST", path, query=query, body=msgspec.json.encode(obj)))

    async def update(
        self,
        obj: T,
        *,
        subresource: str = "",
        namespace: str = "",
        kind: Kind[T] | None = None,
        field_manager: str = "",
        dry_run: bool = False,
    ) -> T:
        """Replace an object and return it as stored.

        Args:
            obj: The object, with the resource version that it was read at.
            subresource: Such as "status".
            namespace: As in `create`, like the rest.
            kind: Its kind.
            field_manager: Owner of the changed fields.
            dry_run: Check, but store nothing.

        Raises:
            Conflict: it has changed since it was read.
        """
        known: Kind[T] = kind or self.kinds.of_object(obj)
        path = known.path(_meta(obj, "namespace") or namespace, _meta(obj, "name"), subresource)
        query = _write_query(field_manager, dry_run=dry_run)
        return _decode(known, await self.caller.send("PUT", path, query=query, body=msgspec.json.encode(obj)))

    async def patch(
        self,
        kind: type[T] | Kind[T],
        name: str,
        body: Any,
        patch_type: PatchType = PatchType.STRATEGIC,
        *,
        namespace: str = "",
        subresource: str = "",
        field_manager: str = "",
        force: bool = False,
        dry_run: bool = False,
    ) -> T:
        """Change parts of an object and return it as stored.

        Args:
            kind: Its kind.
            name: Its name.
            body: The patch, as bytes or as a value to encode.
            patch_type: How it is written.
            namespace: Where the object is.
            subresource: Such as "status".
            field_manager: Owner of the changed fields; an apply must name one.
            force: With an apply: take fields from other managers.
            dry_run: Check, but store nothing.
        """
        known = self.kinds.of(kind)
        query = _write_query(field_manager, dry_run=dry_run)
        if force:
            query["force"] = "true"
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        path = known.path(namespace, name, subresource)
        response = await self.caller.send("PATCH", path, query=query, body=data, content_type=patch_type.value)
        return _decode(known, response)

    async def apply(
        self,
        obj: T,
        *,
        field_manager: str,
        force: bool = False,
        subresource: str = "",
        namespace: str = "",
        kind: Kind[T] | None = None,
        dry_run: bool = False,
    ) -> T:
        """Apply an object server-side: create it, or make its fields so; return it as stored.

        Args:
            obj: The fields that matter, with apiVersion, kind and name.
            field_manager: Who decides these fields.
            force: Take fields from other managers.
            subresource: Such as "status".
            namespace: As in `create`, like the rest.
            kind: Its kind.
            dry_run: Check, but store nothing.

        Raises:
            ApplyConflict: others own some of the fields.
        """
        known: Kind[T] = kind or self.kinds.of_object(obj)
        return await self.patch(
            known,
            _meta(obj, "name"),
            obj,
            PatchType.APPLY,
            namespace=_meta(obj, "namespace") or namespace,
            subresource=subresource,
            field_manager=field_manager,
            force=force,
            dry_run=dry_run,
        )

    async def delete(
        self,
        kind: type[Any] | Kind[Any],
        name: str,
        *,
        namespace: str = "",
        options: DeleteOptions = _PLAINLY,
    ) -> None:
        """Delete an object; finalizers and graceful termination may keep it for a while.

        Raises:
            NotFound: there is none.
            Conflict: a precondition does not hold.
        """
        path = self.kinds.of(kind).path(namespace, name)
        await self.caller.send("DELETE", path, body=options.to_body())

    async def delete_collection(
        self,
        kind: type[Any] | Kind[Any],
        selection: Selection = _EVERYTHING,
        *,
        options: DeleteOptions = _PLAINLY,
    ) -> None:
        """Delete all objects of a selection."""
        path = self.kinds.of(kind).path(selection.namespace)
        await self.caller.send("DELETE", path, query=selection.to_query(), body=options.to_body())

    async def raw(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: bytes = b"",
        content_type: str = JSON,
    ) -> Response:
        """Send any request; errors are raised as everywhere."""
        return await self.caller.send(method, path, query=query, body=body, content_type=content_type)

    async def is_ready(self) -> bool:
        """Tell whether the server answers and says that it is ready."""
        try:
            await self.caller.send("GET", "/readyz", timeout_s=READY_TIMEOUT_S, attempts=1)
        except errors.StatusError:
            return False
        return True

    async def aclose(self) -> None:
        """Let go of the connections."""
        await self.caller.transport.aclose()


def _given(**parameters: str) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if value}


def _write_query(field_manager: str, *, dry_run: bool) -> dict[str, str]:
    return _given(fieldManager=field_manager, dryRun="All" if dry_run else "")


def _merge(selection: Selection, namespace: str, labels: str, fields: str) -> Selection:
    if not (namespace or labels or fields):
        return selection
    return Selection(namespace or selection.namespace, labels or selection.labels, fields or selection.fields)


def _meta(obj: Any, field: str) -> str:
    if isinstance(obj, dict):
        return str((obj.get("metadata") or {}).get(field) or "")
    return str(getattr(obj.metadata, field, None) or "")


def _body(response: Response) -> bytes:
    assert isinstance(response.body, bytes)
    return response.body


def _decode(kind: Kind[T], response: Response) -> T:
    try:
        return kind.decoder.decode(_body(response))
    except msgspec.DecodeError as err:
        raise BadAnswer(f"{kind.resource.kind}: {err}") from err
