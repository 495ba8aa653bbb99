"""A registry over a store in memory, and short ways to make what the access tests ask about."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from knarr.api import scheme
from knarr.api.user import ALL_AUTHENTICATED, User
from knarr.apiserver.attributes import Extractor
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit.clock import Clock
from knarr.store.memory import MemoryBackend
from knarr.store.store import open_store

Object = dict[str, Any]


@contextlib.asynccontextmanager
async def open_registry(clock: Clock) -> AsyncIterator[Registry]:
    extractor = Extractor(scheme.BUILT_IN)
    async with open_store(MemoryBackend(), extract=extractor.extract, clock=clock) as store:
        yield Registry(lambda: scheme.BUILT_IN, store)


async def add(registry: Registry, resource: str, name: str, namespace: str = "", **rest: Any) -> Object:
    """Create an object whose uid is "<name>-uid"; `metadata` is merged."""
    found = registry.resource(resource)
    metadata = {"name": name, "uid": f"{name}-uid", **rest.pop("metadata", {})}
    if namespace:
        metadata["namespace"] = namespace
    obj = {"apiVersion": found.api_version, "kind": found.kind, "metadata": metadata, **rest}
    return await registry.create(resource, obj)


def user(name: str, *groups: str) -> User:
    return User(name, (*groups, ALL_AUTHENTICATED))


def node_user(name: str) -> User:
    return user(f"system:node:{name}", "system:nodes")


def ask(text: str, *, selector: str = "") -> RequestInfo:
    """Read "verb resource[.group][/subresource] [namespace/][name]" or "verb /path"."""
    verb, what, *rest = text.split()
    if what.startswith("/"):
        return RequestInfo(False, what, verb)
    resource, _, subresource = what.partition("/")
    plural, _, group = resource.partition(".")
    namespace, slash, name = rest[0].partition("/") if rest else ("", "", "")
    if rest and not slash:
        namespace, name = "", namespace
    return RequestInfo(
        is_resource_request=True,
        path="",
        verb=verb,
        group=group,
        version="v1",
        namespace=namespace,
        resource=plural,
        subresource=subresource,
        name=name,
        field_selector=selector,
    )
