"""What is served: every resource with its kind, verbs, names and storage.

The API server routes by it, the client finds paths in it, discovery prints it. Custom resources come in by `with_resources`,
which makes a new scheme. `scheme_table.py` has the built-in rows.

Source: k8s.io/apimachinery/pkg/runtime Scheme and meta/v1 APIResource (v1.37).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from knarr.api.scheme_table import GROUPS, PRIORITIES, Group, Row, Sub

__all__ = ["BUILT_IN", "PRIORITIES", "Resource", "Scheme", "Subresource"]


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of a resource with a path of its own.

    Attributes:
        name: The last element of its path, such as "status".
        group: Group of the kind that is sent and answered.
        version: Version of that kind.
        kind: That kind; the parent's for "status", others for "scale", "binding", "token" …
        verbs: Sorted, as discovery prints them.
    """

    name: str
    group: str
    version: str
    kind: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of one version.

    Attributes:
        group: The API group, "" for core.
        version: The version within the group.
        kind: The kind, such as "Deployment".
        plural: The path element, such as "deployments".
        singular: For `kubectl get deployment`.
        namespaced: Whether objects live in namespaces.
        verbs: Sorted, as discovery prints them.
        short_names: Such as "deploy".
        categories: Such as "all".
        subresources: Sorted by name.
        definition: Key of its OpenAPI definition; "" if none is known.
        storage: Key prefix below /registry, shared by all versions of one kind; "" if nothing is stored.
        storage_version: The apiVersion in which objects are stored, such as "autoscaling/v2".
        selectable_fields: What field selectors may name besides metadata.name and metadata.namespace.
        custom: Whether a CustomResourceDefinition defines it.
        listed: The kind of its lists, where it is not the kind with "List" behind it.
    """

    group: str
    version: str
    kind: str
    plural: str
    singular: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    definition: str = ""
    storage: str = ""
    storage_version: str = ""
    selectable_fields: tuple[str, ...] = ()
    custom: bool = False
    listed: str = ""

    @property
    def api_version(self) -> str:
        """The apiVersion of its objects: "v1", "apps/v1"."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def list_kind(self) -> str:
        """The kind of its lists."""
        return self.listed or f"{self.kind}List"

    @property
    def qualified(self) -> str:
        """The name with its group: "pods", "deployments.apps"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def is_stored(self) -> bool:
        """Whether objects are kept; reviews and bindings are not."""
        return bool(self.storage)

    def subresource(self, name: str) -> Subresource | None:
        """Return the subresource of that name, if there is one."""
        for sub in self.subresources:
            if sub.name == name:
                return sub
        return None


class Scheme:
    """A set of resources, looked up by path and by kind.

    Args:
        resources: In the order in which groups, and versions within a group, are preferred.
    """

    def __init__(self, resources: Iterable[Resource]) -> None:
        self._resources = tuple(resources)
        self._by_path = {(r.group, r.version, r.plural): r for r in self._resources}
        self._by_kind = {(r.api_version, r.kind): r for r in self._resources}
        self._by_version: dict[tuple[str, str], list[Resource]] = {}
        groups: dict[str, dict[str, None]] = {}
        for resource in self._resources:
            groups.setdefault(resource.group, {})[resource.version] = None
            self._by_version.setdefault((resource.group, resource.version), []).append(resource)
        self._groups = {group: list(versions) for group, versions in groups.items()}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources)

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """Return the resource served at a path."""
        return self._by_path.get((group, version, plural))

    def find_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of an object's apiVersion and kind."""
        return self._by_kind.get((api_version, kind))

    def groups(self) -> Mapping[str, list[str]]:
        """Return the versions of each group, the preferred one first; "" is the core group."""
        return self._groups

    def resources(self, group: str, version: str) -> list[Resource]:
        """Return what one version of a group serves; empty if it is unknown."""
        return self._by_version.get((group, version), [])

    def versions(self, resource: Resource) -> list[Resource]:
        """Return every resource that shares the storage of one, itself included."""
        return [r for r in self._resources if r.storage and r.storage == resource.storage] or [resource]

    def stored(self, resource: Resource) -> Resource:
        """Return the resource of the version in which objects of this one are stored."""
        return self._by_kind.get((resource.storage_version, resource.kind), resource)

    def with_resources(self, more: Iterable[Resource]) -> "Scheme":
        """Return a scheme that serves `more` besides."""
        return Scheme((*self._resources, *more))


def _subresource(group: Group, row: Row, sub: Sub) -> Subresource:
    if not sub.gvk:
        return Subresource(sub.name, group.name, group.version, row.kind, sub.verbs)
    api_version, _, kind = sub.gvk.rpartition(".")
    name, _, version = api_version.rpartition("/")
    return Subresource(sub.name, name, version, kind, sub.verbs)


def _resource(group: Group, row: Row) -> Resource:
    return Resource(
        group=group.name,
        version=group.version,
        kind=row.kind,
        plural=row.plural,
        singular=row.kind.lower(),
        namespaced=row.namespaced,
        verbs=row.verbs,
        short_names=row.short,
        categories=row.categories,
        subresources=tuple(_subresource(group, row, sub) for sub in row.subs),
        definition=f"{group.package}.{row.kind}",
        storage="" if row.storage is None else row.storage or row.plural,
        storage_version=row.stored_as or (f"{group.name}/{group.version}" if group.name else group.version),
        selectable_fields=row.fields,
    )


BUILT_IN = Scheme(_resource(group, row) for group in GROUPS for row in group.rows)
"""What v1.37 serves by default."""
