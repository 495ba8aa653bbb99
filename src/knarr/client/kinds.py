"""From a model class to the resource that serves it, and the decoders of its answers.

The classes of `lightkube.models` set their apiVersion and kind themselves; the scheme knows the rest. An object of any kind
can also be read and written as a plain dict, through `untyped`.
"""

from typing import Any, Generic, TypeVar
from urllib.parse import quote

import msgspec
from lightkube.models import meta_v1

from knarr.api.scheme import Resource, Scheme
from knarr.client import nulls
from knarr.client.errors import UnknownKind

T = TypeVar("T")


class ListAnswer(msgspec.Struct, Generic[T]):
    """A list as the server sends it."""

    metadata: meta_v1.ListMeta = msgspec.field(default_factory=meta_v1.ListMeta)
    items: list[T] | None = None


class EventAnswer(msgspec.Struct, Generic[T]):
    """A line of a watch as the server sends it."""

    type: str
    object: T


class Kind(Generic[T]):
    """A resource together with the Python type of its objects.

    Attributes:
        resource: Where it is served.
    """

    def __init__(self, resource: Resource, python_type: Any) -> None:
        self.resource = resource
        self.decoder = nulls.Decoder[T](python_type)
        self.list_decoder = nulls.Decoder[ListAnswer[T]](ListAnswer[python_type])
        self.event_decoder = nulls.Decoder[EventAnswer[T]](EventAnswer[python_type])
        group = resource.group
        self._root = f"/apis/{group}/{resource.version}" if group else f"/api/{resource.version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of an object, or of the collection if `name` is empty."""
        parts = [self._root]
        if namespace and self.resource.namespaced:
            parts.append(f"namespaces/{quote(namespace, safe='')}")
        parts.append(self.resource.plural)
        if name:
            parts.append(quote(name, safe=":"))
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


def untyped(resource: Resource) -> Kind[dict[str, Any]]:
    """Return a kind whose objects are plain dicts."""
    return Kind(resource, dict[str, Any])


class Kinds:
    """The kinds that a client has met, by model class.

    Args:
        scheme: What is served.
    """

    def __init__(self, scheme: Scheme) -> None:
        self._scheme = scheme
        self._kinds: dict[Any, Kind[Any]] = {}

    def of(self, kind: type[T] | Kind[T]) -> Kind[T]:
        """Return the kind of a model class.

        Raises:
            UnknownKind: the class names none, or one that the scheme does not have.
        """
        if isinstance(kind, Kind):
            return kind
        known = self._kinds.get(kind)
        if known is None:
            known = self._kinds[kind] = Kind(self._find(*gvk(kind)), kind)
        return known

    def of_object(self, obj: Any) -> Kind[Any]:
        """Return the kind of an object: of its class, or for a dict what it says of itself.

        Raises:
            UnknownKind: as `of`.
        """
        if not isinstance(obj, dict):
            return self.of(type(obj))
        key = (str(obj.get("apiVersion") or ""), str(obj.get("kind") or ""))
        known = self._kinds.get(key)
        if known is None:
            known = self._kinds[key] = untyped(self._find(*key))
        return known

    def _find(self, api_version: str, kind: str) -> Resource:
        resource = self._scheme.find_kind(api_version, kind)
        if resource is None:
            raise UnknownKind(f"{kind} in {api_version}")
        return resource


class _Blank:
    apiVersion = ""
    kind = ""


def gvk(model: type) -> tuple[str, str]:
    """Return the apiVersion and kind that a model class stands for.

    Raises:
        UnknownKind: it sets none.
    """
    # The models set both after construction; some cannot be made without arguments, so the setter runs on a blank.
    blank = _Blank()
    setter = getattr(model, "__post_init__", None)
    if setter is not None:
        setter(blank)
    if not blank.kind:
        raise UnknownKind(model.__name__)
    return blank.apiVersion, blank.kind
