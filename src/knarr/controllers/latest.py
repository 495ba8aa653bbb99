"""Objects as last seen or as last written, whichever is newer: who decides on the own writes must not wait for their echo.

Upstream counterpart: the assume caches and `volumeStore` of the volume controllers.
"""

from typing import Any, Generic, TypeVar

from knarr.control import informer

T = TypeVar("T")


class Latest(Generic[T]):
    """The objects of one kind.

    Args:
        source: What has been seen.
    """

    def __init__(self, source: informer.Informer[T]) -> None:
        self._source = source
        self._written: dict[tuple[str, str], T] = {}
        source.on_change(self._observe)

    def remember(self, obj: T) -> T:
        """Take in an object as the server answered it, and return it."""
        informer.strip(obj)
        if revision_of(self._source.get(*informer.key_of(obj))) < revision_of(obj):
            self._written[informer.key_of(obj)] = obj
        return obj

    def get(self, namespace: str, name: str) -> T | None:
        """Return an object, or None."""
        return self._written.get((namespace, name)) or self._source.get(namespace, name)

    def list(self, namespace: str = "") -> list[T]:
        """Return the objects of a namespace, or all."""
        seen = {informer.key_of(obj): obj for obj in self._source.list(namespace)}
        return [*(seen | {key: obj for key, obj in self._written.items() if namespace in ("", key[0])}).values()]

    def _observe(self, old: T | None, new: T | None) -> None:
        key = informer.key_of(new if new is not None else old)
        written = self._written.get(key)
        if written is not None and (new is None or revision_of(new) >= revision_of(written)):
            del self._written[key]


def revision_of(obj: Any) -> int:
    """Return an object's resource version as a number; 0 for none."""
    text = (obj.metadata.resourceVersion or "") if obj is not None and obj.metadata else ""
    return int(text) if text.isdigit() else 0
