"""Decoded objects for the parts of the API server itself: plugins, authorizers, token checks, bootstrap.

Nothing here is authorized, admitted, defaulted or validated: callers are trusted code that writes whole, valid objects.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from knarr.api import codec, errors
from knarr.api.scheme import Resource, Scheme
from knarr.apiserver import keys
from knarr.store import backend as backends
from knarr.store import query as queries
from knarr.store import store as stores

Object = dict[str, Any]
OnChange = Callable[[Object | None, Object | None], None]
"""Called with what stood there before and what stands there now; None where nothing does."""


class Registry:
    """Objects by resource, namespace and name.

    Args:
        scheme: The served resources; follows custom resources as they come and go.
        store: Where the objects are.
    """

    def __init__(self, scheme: Callable[[], Scheme], store: stores.Store) -> None:
        self._scheme = scheme
        self._found: dict[str, Resource] = {}
        self._found_in: Scheme | None = None
        self.store = store

    @property
    def scheme(self) -> Scheme:
        """The resources served at the moment."""
        return self._scheme()

    def resource(self, name: str) -> Resource:
        """Return a resource by its qualified name, such as "pods" or "roles.rbac.authorization.k8s.io".

        Raises:
            KeyError: no such resource is served.
        """
        scheme = self._scheme()
        if scheme is not self._found_in:
            self._found, self._found_in = {}, scheme
        resource = self._found.get(name)
        if resource is None:
            resource = self._found[name] = _find(scheme, name)
        return resource

    def get(self, resource: str | Resource, namespace: str, name: str) -> Object | None:
        """Read one object; the dict is the caller's own."""
        found = self._of(resource)
        entry = self.store.get(keys.key(found, namespace, name))
        return None if entry is None else _decode(entry.value)

    def list(
        self, resource: str | Resource, namespace: str = "", *, terms: tuple[queries.Term, ...] = ()
    ) -> list[Object]:
        """Read all objects, or those of one namespace, or those that fulfil equality terms."""
        found = self._of(resource)
        page = self.store.list(queries.Query(keys.prefix(found, namespace), terms))
        return [_decode(entry.value) for entry in page.entries]

    async def create(self, resource: str | Resource, obj: Object) -> Object:
        """Write a new object as it is.

        Raises:
            AlreadyExists: one of its name exists.
        """
        found = self._of(resource)
        metadata = obj["metadata"]
        key = keys.key(found, metadata.get("namespace", ""), metadata["name"])
        result = await self.store.create(key, codec.encode(obj))
        if isinstance(result, backends.Conflict):
            raise errors.AlreadyExists(found.group, found.plural, metadata["name"])
        return _decode(result.value)

    async def update(self, resource: str | Resource, obj: Object) -> Object:
        """Replace an object whose `metadata.resourceVersion` is the one that was read.

        Raises:
            NotFound: it is gone.
            Conflict: it has changed since.
        """
        found = self._of(resource)
        metadata = obj["metadata"]
        key = keys.key(found, metadata.get("namespace", ""), metadata["name"])
        expected = backends.Revision(int(metadata["resourceVersion"]))
        result = await self.store.update(key, codec.encode(obj), expected=expected)
        if isinstance(result, backends.Conflict):
            if result.current is None:
                raise errors.NotFound(found.group, found.plural, metadata["name"])
            raise errors.Conflict(found.group, found.plural, metadata["name"])
        return _decode(result.value)

    async def delete(self, resource: str | Resource, namespace: str, name: str) -> Object | None:
        """Remove an object at once, finalizers or not; None if there is none."""
        found = self._of(resource)
        key = keys.key(found, namespace, name)
        while (entry := self.store.get(key)) is not None:
            result = await self.store.delete(key, expected=entry.modified)
            if not isinstance(result, backends.Conflict):
                return _decode(result.value)
        return None

    def subscribe(self, resource: str | Resource, callback: OnChange) -> Callable[[], None]:
        """Call `callback` for every change from now on, in the order of commits and before the writer gets its answer.

        Returns:
            What ends the subscription.
        """

        def on_event(event: backends.Event) -> None:
            previous, entry = event.previous, event.entry
            callback(_decode(previous.value) if previous else None, _decode(entry.value) if entry else None)

        return self.store.subscribe(keys.prefix(self._of(resource)), on_event)

    def _of(self, resource: str | Resource) -> Resource:
        return self.resource(resource) if isinstance(resource, str) else resource


def _find(scheme: Scheme, name: str) -> Resource:
    plural, _, group = name.partition(".")
    for version in scheme.groups().get(group, ()):
        found = scheme.find(group, version, plural)
        if found is not None:
            return found
    raise KeyError(name)


def _decode(value: bytes) -> Object:
    decoded: Object = msgspec.json.decode(value)
    return decoded
