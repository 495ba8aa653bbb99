"""OpenAPI documents as answers: media type, compression, and whether the caller has the document already.

Source: k8s.io/kube-openapi/pkg/handler3/handler.go (hashes, redirects, caching) (v1.37).
"""

import asyncio

from knarr.apiserver import openapi
from knarr.apiserver.parts import Call
from knarr.kit.http.messages import Headers, Response

_V3 = "openapi/v3"
_FOREVER = "public, immutable"


async def serve(call: Call, documents: openapi.Documents, path: str) -> Response | None:
    """Answer a GET below /openapi; None if there is no such document.

    Args:
        call: The request.
        documents: The documents of what is served now.
        path: Without the slash before it.
    """
    if path == "openapi/v2":
        media_type = openapi.v2_media_type(call.request.headers.get("accept") or "")
        found = await asyncio.to_thread(documents.v2, media_type)
        is_protobuf = media_type == openapi.V2_PROTOBUF
        return send(call, found, openapi.V2_PROTOBUF_ANSWER if is_protobuf else media_type, [])
    if path == _V3:
        return Response(200, Headers.from_lower([("content-type", openapi.JSON)]), documents.index)
    name = path.removeprefix(f"{_V3}/")
    current = documents.hash_of(name)
    if name == path or current is None:
        return None
    asked = (call.values.get("hash") or [""])[0]
    if asked and asked != current:
        return Response(301, Headers.from_lower([("location", f"/{path}?hash={current}")]))
    document = await asyncio.to_thread(documents.v3, name)
    assert document is not None
    return send(call, document, openapi.JSON, [("cache-control", _FOREVER)] if asked else [])


def send(call: Call, document: openapi.Document, media_type: str, more: list[tuple[str, str]]) -> Response:
    """Answer with a document, or that the caller has it already."""
    fields = [("etag", document.etag), ("vary", "Accept"), ("vary", "Accept-Encoding"), *more]
    if call.request.headers.get("if-none-match") == document.etag:
        return Response(304, Headers.from_lower(fields))
    fields.append(("content-type", media_type))
    if "gzip" in (call.request.headers.get("accept-encoding") or ""):
        return Response(200, Headers.from_lower([*fields, ("content-encoding", "gzip")]), document.compressed)
    return Response(200, Headers.from_lower(fields), document.body)
