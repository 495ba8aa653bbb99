"""JSON bytes as responses: YAML, indentation, compression and warnings where the caller asks for them or is owed them."""

import asyncio
import zlib
from typing import Any

import msgspec

from knarr.api import codec, errors, protobuf
from knarr.apiserver import negotiate, options
from knarr.apiserver.parts import Call
from knarr.kit.http.messages import Headers, Response

GZIP_FROM_BYTES = 128 * 1024
_GZIP_LEVEL = 1
_GZIP_WBITS = 31
_PEOPLE = ("curl", "Wget", "Mozilla/5.0")
"""Programs with a person in front of them get indented JSON."""
_WARNING_LIMIT_BYTES = 4096


async def send(call: Call, form: negotiate.Form, body: bytes, status: int = 200) -> Response:
    """Answer with an encoded object.

    Args:
        call: Whom to answer.
        form: What was negotiated.
        body: The object as JSON, transformed already.
        status: The HTTP status code.
    """
    if form.media_type == negotiate.PROTOBUF:
        body = to_protobuf(body)
    elif form.media_type == negotiate.YAML:
        body = codec.encode_response(msgspec.json.decode(body), codec.YAML)
    elif form.pretty or _is_pretty(call):
        body = msgspec.json.format(body, indent=2) + b"\n"
    fields = [("cache-control", "no-cache, private"), ("content-type", form.media_type)]
    add_warnings(fields, call)
    if len(body) > GZIP_FROM_BYTES and "gzip" in (call.request.headers.get("accept-encoding") or ""):
        fields += [("content-encoding", "gzip"), ("vary", "Accept-Encoding")]
        body = await asyncio.to_thread(_compress, body)
    return Response(status, Headers.from_lower(fields), body)


async def send_object(call: Call, obj: Any, status: int = 200, *, transforms: bool = False) -> Response:
    """Answer with an object that is not stored, in the form the caller accepts; what has no kind is always JSON."""
    accept = call.request.headers.get("accept") or ""
    form = negotiate.choose(accept, transforms) if "kind" in obj else negotiate.Form()
    return await send(call, form, msgspec.json.encode(obj), status)


def to_protobuf(body: bytes) -> bytes:
    """Return JSON as protobuf in its envelope.

    Raises:
        NotAcceptable: the kind has no protobuf form.
    """
    try:
        return protobuf.encode(msgspec.json.decode(body))
    except protobuf.NotMarshalable as err:
        accepted = ", ".join(kind for kind in negotiate.SERVED if kind != negotiate.PROTOBUF)
        raise errors.NotAcceptable(f"only the following media types are accepted: {accepted}") from err


def in_accepted_form(response: Response, accept: str) -> Response:
    """Return an error in the form its receiver takes; as JSON if that is none we have.

    Args:
        response: The error, as JSON.
        accept: The Accept header.
    """
    assert isinstance(response.body, bytes)
    try:
        form = negotiate.choose(accept, transforms=False)
    except errors.NotAcceptable:
        return response
    if form.media_type == negotiate.PROTOBUF:
        response.body = to_protobuf(response.body)
    elif form.media_type == negotiate.YAML:
        response.body = codec.encode_response(msgspec.json.decode(response.body), codec.YAML)
    response.headers.set("content-type", form.media_type)
    return response


def add_warnings(fields: list[tuple[str, str]], call: Call) -> None:
    """Add the Warning headers that a call has gathered, each once and not too many."""
    size = 0
    for text in dict.fromkeys(call.warnings):
        size += len(text)
        if size > _WARNING_LIMIT_BYTES:
            break
        fields.append(("warning", f'299 - "{_quoted(text)}"'))


def _is_pretty(call: Call) -> bool:
    if "pretty" in call.values:
        return options.flag(call.values, "pretty")
    return (call.request.headers.get("user-agent") or "").startswith(_PEOPLE)


def _compress(body: bytes) -> bytes:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    return compressor.compress(body) + compressor.flush()


def _quoted(text: str) -> str:
    printable = "".join(char if char.isprintable() else " " for char in text)
    return printable.replace("\\", "\\\\").replace('"', '\\"')
