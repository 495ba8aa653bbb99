"""The definitions that are established, and the scheme of everything that is served with them.

The catalog follows the stored definitions: it changes within the very write that establishes one, so that whoever sees the
condition can use the kind.
"""

from collections.abc import Callable, Mapping
from typing import Any

from knarr.api.scheme import Resource, Scheme
from knarr.api.structural import publish
from knarr.apiserver.customresources.definitions import Definition, Version, is_true, rank

Object = dict[str, Any]


class Catalog:
    """What custom kinds there are.

    Args:
        built_in: What is served without any.
        on_change: Called with the new scheme whenever it has changed, and the storage of the kind that is the reason.
    """

    def __init__(self, built_in: Scheme, on_change: Callable[[Scheme, str], None]) -> None:
        self._built_in = built_in
        self._on_change = on_change
        self._definitions: dict[str, Definition] = {}
        self._versions: dict[tuple[str, str, str], Version] = {}
        self.scheme = built_in

    def load(self, crds: list[Object]) -> None:
        """Take over what is stored at the start."""
        for crd in crds:
            self._take(None, crd)
        self._rebuild()
        for one in self._definitions.values():
            self._on_change(self.scheme, f"{one.group}/{one.plural}")

    def follow(self, old: Object | None, new: Object | None) -> None:
        """Take over a change of a definition."""
        changed = self._take(old, new)
        if changed:
            self._rebuild()
            spec = (new or old or {})["spec"]
            self._on_change(self.scheme, f"{spec['group']}/{spec['names']['plural']}")

    def of(self, resource: Resource) -> Version | None:
        """Return the version of a custom kind; None for a built-in one, or if it has gone meanwhile."""
        return self._versions.get((resource.group, resource.version, resource.plural)) if resource.custom else None

    def definition(self, name: str) -> Definition | None:
        """Return an established definition by its name."""
        return self._definitions.get(name)

    def published(self) -> Mapping[str, publish.Published]:
        """Return what OpenAPI documents say of the served versions, by the names of their definitions."""
        return {
            one.resource.definition: publish.Published(
                one.resource.group,
                one.resource.version,
                one.resource.kind,
                one.resource.list_kind,
                one.resource.plural,
                one.resource.definition,
                one.raw_schema,
            )
            for one in self._versions.values()
            if one.served
        }

    def _take(self, old: Object | None, new: Object | None) -> bool:
        if new is None:
            return old is not None and self._definitions.pop(old["metadata"]["name"], None) is not None
        name = new["metadata"]["name"]
        known = self._definitions.get(name)
        if not is_true(new, "Established"):
            return self._definitions.pop(name, None) is not None
        revision = int(new["metadata"].get("resourceVersion") or 0)
        if known is not None and known.uid == (new["metadata"].get("uid") or ""):
            is_terminating = bool(new["metadata"].get("deletionTimestamp"))
            names = (new.get("status") or {}).get("acceptedNames")
            if known.spec == new["spec"] and known.is_terminating == is_terminating and names in (None, known.names):
                return False
            if known.spec == new["spec"]:
                revision = known.revision
        self._definitions[name] = Definition(new, revision)
        return True

    def _rebuild(self) -> None:
        self._versions = {
            (one.group, version.name, one.plural): version
            for one in self._definitions.values()
            for version in one.versions.values()
        }
        found = sorted(self._definitions.values(), key=lambda one: (one.group, one.plural))
        resources = [resource for one in found for resource in one.resources()]
        resources.sort(key=_place)
        self.scheme = self._built_in.with_resources(resources)


def _place(resource: Resource) -> Any:
    return resource.group, rank(resource.version)
