"""OpenAPI documents of everybody together: of v3 each server's own are passed on, of v2 there is one, merged when it is asked for.

Source: k8s.io/kube-aggregator/pkg/controllers/{openapi,openapiv3}/aggregator; k8s.io/kube-openapi/pkg/aggregator (v1.37).
"""

import asyncio
import gzip
import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.apiserver import openapi, openapi_answers
from knarr.apiserver.aggregation.registrations import Registration
from knarr.apiserver.parts import Call, Parts
from knarr.kit.http.messages import Headers, Response

Object = dict[str, Any]

REFRESH_S = 60.0
_V2, _V3 = "openapi/v2", "openapi/v3"
_LEVEL = 6
_OURS = "io.k8s.apimachinery."
"""Definitions that every server has: this server's own stand for all."""
_DEFINITION, _PARAMETER = "#/definitions/", "#/parameters/"
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")
_OPERATION: Mapping[str, Any] = {
    "tags": [], "description": "", "operationId": "", "produces": [], "consumes": [], "schemes": [], "responses": {},
}  # fmt: skip
_PASSED = ("content-type", "etag", "location", "cache-control", "content-encoding", "vary")


class Documents:
    """Answers for OpenAPI where there are remote servers.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._specs: dict[str, tuple[float, Object]] = {}
        self._merged: dict[str, tuple[tuple[Any, ...], openapi.Document]] = {}

    async def serve(self, call: Call, local: openapi.Documents, path: str) -> Response | None:
        """Answer a GET below /openapi; None if there is no such document.

        Args:
            call: The request.
            local: This server's documents.
            path: Without the slash before it.
        """
        if path == _V2:
            return await self._serve_v2(call, local)
        if path == _V3:
            index = msgspec.json.decode(local.index)
            for one in self._remote():
                url = self._parts.remote_documents.get(one).openapi
                if url:
                    index["paths"][one.path.lstrip("/")] = {"serverRelativeURL": url}
            return Response(200, Headers.from_lower([("content-type", openapi.JSON)]), msgspec.json.encode(index))
        one_here = self._parts.registrations.find(f"/{path.removeprefix(f'{_V3}/')}")
        if one_here is None:
            return await openapi_answers.serve(call, local, path)
        return await self._pass_on(call, one_here)

    async def _pass_on(self, call: Call, one: Registration) -> Response | None:
        accept = call.request.headers.get("accept") or "*/*"
        found = await self._parts.remote_documents.fetch(one, call.request.path, call.request.query, accept)
        if found is None:
            return None
        return Response(found.status, Headers(item for item in found.headers if item[0] in _PASSED), found.body)

    async def _serve_v2(self, call: Call, local: openapi.Documents) -> Response:
        media_type = openapi.v2_media_type(call.request.headers.get("accept") or "")
        found = await asyncio.gather(*(self._spec(one) for one in self._remote()))
        specs = [spec for spec in found if spec is not None]
        key = (id(local), *(id(spec) for spec in specs))
        kept = self._merged.get(media_type)
        if kept is None or kept[0] != key:
            document = await asyncio.to_thread(_make, local, media_type, specs)
            kept = self._merged[media_type] = (key, document)
        shown = openapi.V2_PROTOBUF_ANSWER if media_type == openapi.V2_PROTOBUF else media_type
        return openapi_answers.send(call, kept[1], shown, [])

    async def _spec(self, one: Registration) -> Object | None:
        """Return what a remote server's document says about its registration."""
        now = self._parts.clock.monotonic_s()
        kept = self._specs.get(one.name)
        if kept is not None and now - kept[0] < REFRESH_S:
            return kept[1]
        answer = await self._parts.remote_documents.fetch(one, f"/{_V2}")
        if answer is None or answer.status != 200 or not isinstance(answer.body, bytes):
            return kept[1] if kept is not None else None
        try:
            spec = extract(msgspec.json.decode(answer.body), one)
        except (msgspec.DecodeError, RecursionError, AttributeError, TypeError):
            return kept[1] if kept is not None else None
        if kept is not None and kept[1] == spec:
            spec = kept[1]  # the same object: what has been merged stays valid
        self._specs[one.name] = now, spec
        return spec

    def _remote(self) -> list[Registration]:
        return [one for one in self._parts.registrations.remote() if one.is_available]


logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Merged:
    """What remote documents add to this server's own."""

    paths: Mapping[str, Object]
    definitions: Mapping[str, Object]


class _Swagger(msgspec.Struct):
    swagger: msgspec.Raw
    info: msgspec.Raw
    paths: dict[str, msgspec.Raw]
    definitions: dict[str, msgspec.Raw]


def extract(document: Object, one: Registration) -> Object:
    """Return the part of an OpenAPI v2 document that is about a registration: its paths and the definitions they need.

    Args:
        document: The document of the server.
        one: The registration.
    """
    parameters = document.get("parameters") or {}
    group = f"/apis/{one.group}/"
    paths = {
        path: _whole(_inline(item, parameters))
        for path, item in (document.get("paths") or {}).items()
        if path == group or path == one.path or path.startswith(f"{one.path}/")
    }
    known = document.get("definitions") or {}
    definitions: Object = {}
    waiting = sorted(_references(paths))
    while waiting:
        name = waiting.pop()
        if name not in definitions and name in known:
            definitions[name] = known[name]
            waiting += _references(known[name])
    return {"paths": paths, "definitions": definitions}


def merge(local: Mapping[str, Any], specs: Iterable[Object]) -> Merged:
    """Put remote documents together; a definition whose name means something else already gets another one.

    Args:
        local: This server's definitions by name, decoded only where they are compared.
        specs: As `extract` returns them.
    """
    paths: dict[str, Object] = {}
    definitions: dict[str, Object] = {}
    for spec in specs:
        names: dict[str, str] = {}
        for name, definition in spec["definitions"].items():
            chosen, number = name, 2
            while not name.startswith(_OURS) and _means_another(chosen, definition, local, definitions):
                chosen, number = f"{name}_v{number}", number + 1
            names[name] = chosen
        for name, definition in spec["definitions"].items():
            if names[name] not in local:
                definitions.setdefault(names[name], _renamed(definition, names))
        for path, item in spec["paths"].items():
            paths.setdefault(path, _renamed(item, names))
    return Merged(paths, definitions)


def _means_another(name: str, definition: Object, local: Mapping[str, Any], merged: Mapping[str, Object]) -> bool:
    if name in local:
        return bool(msgspec.json.decode(local[name]) != definition)
    return name in merged and merged[name] != definition


def _make(local: openapi.Documents, media_type: str, specs: list[Object]) -> openapi.Document:
    own = msgspec.json.decode(local.v2().body, type=_Swagger)
    added = merge(own.definitions, specs)
    paths = {path: item for path, item in added.paths.items() if path not in own.paths}
    if media_type == openapi.V2_PROTOBUF:
        from knarr.apiserver.openapi import proto

        parts = [local.v2(media_type).body]
        parts += _encodable(proto.path, paths)
        parts += _encodable(proto.definition, added.definitions)
        body = b"".join(parts)
    else:
        for path, item in paths.items():
            own.paths[path] = msgspec.Raw(msgspec.json.encode(item))
        for name, schema in added.definitions.items():
            own.definitions[name] = msgspec.Raw(msgspec.json.encode(schema))
        body = msgspec.json.encode(own)
    return openapi.Document(gzip.compress(body, _LEVEL, mtime=0), f'"{hashlib.sha512(body).hexdigest().upper()}"')


def _encodable(encode: Callable[[str, Object], bytes], found: Mapping[str, Object]) -> Iterator[bytes]:
    """Yield what can be written as protobuf; who does not keep to the form is not shown in it."""
    for name, value in found.items():
        try:
            yield encode(name, value)
        except (KeyError, TypeError, ValueError, AttributeError) as err:
            logger.debug("OpenAPI of %s: %s", name, err)


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        found = set().union(*(_references(item) for item in value.values())) if value else set()
        target = value.get("$ref")
        if isinstance(target, str) and target.startswith(_DEFINITION):
            found.add(target.removeprefix(_DEFINITION))
        return found
    return set().union(*(_references(item) for item in value)) if isinstance(value, list) and value else set()


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        made = {key: _renamed(item, names) for key, item in value.items()}
        target = value.get("$ref")
        if isinstance(target, str) and target.startswith(_DEFINITION):
            name = target.removeprefix(_DEFINITION)
            made["$ref"] = f"{_DEFINITION}{names.get(name, name)}"
        return made
    return [_renamed(item, names) for item in value] if isinstance(value, list) else value


def _inline(value: Any, parameters: Mapping[str, Any]) -> Any:
    """Put shared parameters where they are referred to."""
    if isinstance(value, dict):
        target = value.get("$ref")
        if isinstance(target, str) and target.startswith(_PARAMETER):
            return parameters.get(target.removeprefix(_PARAMETER)) or {}
        return {key: _inline(item, parameters) for key, item in value.items()}
    return [_inline(item, parameters) for item in value] if isinstance(value, list) else value


def _whole(item: Object) -> Object:
    """Give each operation of a path the fields that every one of this server's has."""
    return {
        key: _whole_operation(value) if key in _METHODS and isinstance(value, dict) else _whole_parameters(key, value)
        for key, value in item.items()
    }


def _whole_operation(operation: Object) -> Object:
    responses = {code: {"description": "", **one} for code, one in (operation.get("responses") or {}).items()}
    made = {**_OPERATION, **operation, "responses": responses}
    return {key: _whole_parameters(key, value) for key, value in made.items()}


def _whole_parameters(key: str, value: Any) -> Any:
    if key != "parameters":
        return value
    return [one if one.get("in") == "body" else {"description": "", "type": "string", **one} for one in value]
