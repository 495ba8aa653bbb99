"""OpenAPI: the index and the documents of v3, one for each version of a group, and the whole of v2 as JSON or protobuf.

Clients validate manifests, explain kinds and merge patches by them. A document is made when it is first asked for and kept
compressed; the index names each by a hash of what goes into it, so that nothing has to be made for the index.

Source: k8s.io/kube-openapi/pkg/handler3 and handler (v1.37); https://spec.openapis.org/oas/v3.0.0
"""

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from knarr.api.scheme import Resource, Scheme
from knarr.api.structural import publish
from knarr.apiserver.openapi import paths, roots, schemas

Object = dict[str, Any]

JSON = "application/json"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
V2_PROTOBUF_ANSWER = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
"""What the answer is called: Go's clients cannot parse a media type with "@"."""
_TITLE = "Kubernetes"
_LEVEL = 6


@dataclass(frozen=True, slots=True)
class Document:
    """A document as it is kept.

    Attributes:
        compressed: Its bytes, gzipped.
        etag: With quotes.
    """

    compressed: bytes
    etag: str

    @property
    def body(self) -> bytes:
        """Its bytes."""
        return gzip.decompress(self.compressed)


def v2_media_type(accept: str) -> str:
    """Return in which form a client takes the document of v2: JSON or V2_PROTOBUF."""
    for clause in accept.split(","):
        media_type = clause.partition(";")[0].strip()
        if media_type in (V2_PROTOBUF, V2_PROTOBUF_ANSWER):
            return V2_PROTOBUF
        if media_type in (JSON, "application/*", "*/*"):
            return JSON
    return JSON


class Documents:
    """The documents of one scheme.

    Args:
        scheme: What is served.
        version: The server's version, such as "v1.37.0+knarr".
        custom: What is published of custom kinds, by their `Resource.definition`.
    """

    def __init__(self, scheme: Scheme, version: str, custom: Mapping[str, publish.Published] | None = None) -> None:
        self._scheme = scheme
        self._version = version
        self._custom = custom or {}
        self._documents: dict[str, Document] = {}

    @cached_property
    def index(self) -> bytes:
        """GET /openapi/v3: where each document is."""
        found = {
            path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._hash(resources)}"}
            for path, resources in self._paths.items()
        }
        for path, root in self._roots.items():
            found[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={self._hash_of_root(root)}"}
        return msgspec.json.encode({"paths": dict(sorted(found.items()))})

    def hash_of(self, path: str) -> str | None:
        """Return the hash by which the index names a document, None if there is none."""
        root = self._roots.get(path)
        if root is not None:
            return self._hash_of_root(root)
        resources = self._paths.get(path)
        return None if resources is None else self._hash(resources)

    def v3(self, path: str) -> Document | None:
        """Return GET /openapi/v3/<path>, such as "apis/apps/v1"; None if there is none."""
        root, resources = self._roots.get(path), self._paths.get(path)
        if root is None and resources is None:
            return None
        if path not in self._documents:
            made = self._make_root(root) if root is not None else self._make_v3(path, resources or [])
            self._documents[path] = _keep(msgspec.json.encode(made))
        return self._documents[path]

    def v2(self, media_type: str = JSON) -> Document:
        """Return GET /openapi/v2 as JSON or V2_PROTOBUF."""
        if media_type not in self._documents:
            body = self._make_v2_protobuf() if media_type == V2_PROTOBUF else self._make_v2()
            self._documents[media_type] = _keep(body)
        return self._documents[media_type]

    @cached_property
    def _paths(self) -> dict[str, list[Resource]]:
        return {
            f"apis/{group}/{version}" if group else f"api/{version}": self._scheme.resources(group, version)
            for group, versions in self._scheme.groups().items()
            for version in versions
        }

    @cached_property
    def _roots(self) -> dict[str, roots.Root]:
        return roots.documents(self._scheme)

    def _hash_of_root(self, root: roots.Root) -> str:
        return hashlib.sha512(f"{self._version} {root!r}".encode()).hexdigest().upper()

    def _hash(self, resources: list[Resource]) -> str:
        digest = hashlib.sha512(self._version.encode())
        for resource in resources:
            digest.update(repr(resource).encode())
            if resource.definition in self._custom:
                digest.update(msgspec.json.encode(self._custom[resource.definition].schema))
        return digest.hexdigest().upper()

    def _make_root(self, root: roots.Root) -> Object:
        definitions = schemas.load()
        names = schemas.reachable(definitions, {root.definition} if root.definition else set())
        return self._document(
            {root.path: paths.to_v3(root.to_item())}, {n: schemas.to_v3(n, definitions[n]) for n in names}
        )

    def _make_v3(self, path: str, resources: list[Resource]) -> Object:
        definitions = schemas.load()
        own: dict[str, Object] = {}
        for one in resources:
            if one.definition in self._custom:
                own |= self._custom[one.definition].v3()
        known = {**definitions, **own}
        list_of_resources = roots.of_version(*_group_version(path))
        items = {list_of_resources.path: paths.to_v3(list_of_resources.to_item())}
        items |= {path: paths.to_v3(item) for path, item in paths.of_version(resources, known)}
        names = schemas.reachable(definitions, {*_roots(resources), list_of_resources.definition})
        components = {name: schemas.to_v3(name, definitions[name]) for name in names}
        components |= own
        return self._document(items, components)

    def _document(self, items: Object, components: Object) -> Object:
        return {
            "openapi": "3.0.0",
            "info": {"title": _TITLE, "version": self._version},
            "paths": items,
            "components": {
                "schemas": components,
                "securitySchemes": {
                    "BearerToken": {
                        "type": "apiKey", "description": "Bearer Token authentication", "name": "authorization", "in": "header",
                    }
                },
            },
        }  # fmt: skip

    def _make_v2(self) -> bytes:
        definitions = schemas.load()
        items = b",".join(_member(path, item) for path, item in self._all_paths(definitions))
        kinds = b",".join(_member(name, schema) for name, schema in self._all_schemas(definitions))
        info = msgspec.json.encode({"title": _TITLE, "version": self._version})
        return b'{"swagger":"2.0","info":%b,"paths":{%b},"definitions":{%b}}' % (info, items, kinds)

    def _make_v2_protobuf(self) -> bytes:
        # Imported here because protobuf costs memory that few servers ever need to spend.
        from knarr.apiserver.openapi import proto

        definitions = schemas.load()
        parts = [proto.head(_TITLE, self._version)]
        parts += [proto.path(path, item) for path, item in self._all_paths(definitions)]
        parts += [proto.definition(name, schema) for name, schema in self._all_schemas(definitions)]
        return b"".join(parts)

    def _all_paths(self, definitions: dict[str, Object]) -> Iterator[tuple[str, Object]]:
        known = {**definitions, **self._custom, **{f"{name}List": {} for name in self._custom}}
        yield from roots.items(self._roots.values())
        for path, resources in self._paths.items():
            yield from roots.items([roots.of_version(*_group_version(path))])
            yield from paths.of_version(resources, known)

    def _all_schemas(self, definitions: dict[str, Object]) -> Iterator[tuple[str, Object]]:
        resources = [resource for found in self._paths.values() for resource in found]
        told = {root.definition for root in self._roots.values() if root.definition}
        told.add(roots.of_version("", "v1").definition)
        for name in schemas.reachable(definitions, {*_roots(resources), *told}):
            yield name, schemas.to_v2(name, definitions[name])
        for published in self._custom.values():
            yield from published.v2().items()


def _keep(body: bytes) -> Document:
    return Document(gzip.compress(body, _LEVEL, mtime=0), f'"{hashlib.sha512(body).hexdigest().upper()}"')


def _group_version(path: str) -> tuple[str, str]:
    """Return what a document's name is made of: "apis/apps/v1" is of "apps" and "v1", "api/v1" of the core group."""
    group, _, version = path.partition("/")[2].rpartition("/")
    return group, version


def _member(name: str, value: Object) -> bytes:
    return msgspec.json.encode(name) + b":" + msgspec.json.encode(value)


def _roots(resources: list[Resource]) -> set[str]:
    """Return the definitions that a document begins with: the kinds, their lists, and those of subresources."""
    found = {schemas.STATUS, schemas.DELETE_OPTIONS, schemas.WATCH_EVENT, schemas.PATCH}
    for resource in resources:
        found |= {resource.definition, f"{resource.definition}List"}
        if resource.custom:
            found |= {f"{publish.META}.ObjectMeta", f"{publish.META}.ListMeta"}
        for sub in resource.subresources:
            package = sub.group.removesuffix(".k8s.io") or "core"
            found.add(f"io.k8s.api.{package}.{sub.version}.{sub.kind}")
    return found
