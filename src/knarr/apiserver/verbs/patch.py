"""PATCH: JSON patch, merge patch, strategic merge patch, and server-side apply.

Source: k8s.io/apiserver/pkg/endpoints/handlers/patch.go (v1.37).
"""

from typing import Any

import msgspec

from knarr.api import errors, field, patch
from knarr.apiserver import intake, metadata, negotiate, objects, options, ownership, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table
from knarr.apiserver.verbs import writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]

JSON_PATCH = "application/json-patch+json"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TYPES = (JSON_PATCH, MERGE, STRATEGIC, APPLY)
CUSTOM_TYPES = (JSON_PATCH, MERGE, APPLY)
_SHOWN_BYTES = 10 * 1024


async def serve(parts: Parts, call: Call, target: Target, *, prepare: writing.Prepare | None = None) -> Response:
    """Answer with the stored object.

    Args:
        parts: The server's parts.
        call: Who asks, and with what.
        target: Which object, perhaps through a subresource.
        prepare: What the subresource does instead of the strategy.
    """
    form = negotiate.of(call.request, target.resource)
    content_type = call.request.headers.get("content-type") or ""
    is_built_in = table.is_built_in(target.resource)
    patch_type = negotiate.body_media_type(content_type or "none", TYPES if is_built_in else CUSTOM_TYPES)
    write = options.write_options(call.values, "PatchOptions", patch_type=patch_type)
    if patch_type == APPLY:
        written = await _apply(parts, call, target, write, prepare)
    else:
        written = await _patch(parts, call, target, write, patch_type, prepare)
    value = await reading.show_one(parts, target.resource, written.value)
    body = views.of(parts, call, target, form).one(value)
    return await responses.send(call, form, body, 201 if written.created else 200)


def patched(parts: Parts, patch_type: str, old: Object, body: bytes, definition_of: Any) -> Object:
    """Return what a patch other than apply makes of an object.

    Args:
        parts: The server's parts.
        patch_type: The media type of the patch.
        old: The object; not changed.
        body: The patch.
        definition_of: The resource or definition name by which a strategic merge goes.

    Raises:
        BadRequest: the patch is malformed.
        StatusError: 422, it does not fit the object.
    """
    changes = _decode(body)
    if patch_type == JSON_PATCH:
        result = patch.json_patch(old, changes)
    elif not isinstance(changes, dict):
        raise errors.BadRequest(f"error decoding patch: json: cannot unmarshal {_describe(changes)} into Go value")
    elif patch_type == MERGE:
        result = patch.merge_patch(old, changes)
    else:
        result = patch.strategic_merge_patch(old, changes, definition_of)
    if not isinstance(result, dict):
        raise errors.BadRequest("the patched document is not an object")
    return result


async def _patch(
    parts: Parts, call: Call, target: Target, write: options.WriteOptions, patch_type: str, prepare: Any
) -> writing.Written:
    definition = parts.type_of(target.resource)
    body = call.request.body
    # A patch that speaks of the version (a test, a precondition) means the one that can be read.
    is_free = b"resourceVersion" not in body and b"\\u" not in body

    async def make(old: Object) -> Object:
        result = writing.copy(patched(parts, patch_type, old, body, definition))
        if patch_type == STRATEGIC:
            result["kind"], result["apiVersion"] = target.resource.kind, target.resource.api_version
        intake.check_kind(result, target.resource)
        try:
            result = intake.settle(parts, call, target.resource, result, write.field_validation)
        except errors.BadRequest as err:
            shown = body[:_SHOWN_BYTES].decode(errors="replace")
            words = err.message.rpartition(" cannot be handled as a ")[2].partition(": ")[2] or err.message
            raise errors.Invalid("", "", "", [field.invalid(field.Path("patch"), shown, words)]) from err
        metadata.check_name(target, objects.metadata_of(result))
        return ownership.track(parts, call, target, old, result, write)

    return await writing.update(
        parts, call, target, make, write, prepare=prepare, options_kind="PatchOptions", builds_on_head=is_free
    )


async def _apply(
    parts: Parts, call: Call, target: Target, write: options.WriteOptions, prepare: Any
) -> writing.Written:
    applied = intake.decode(call, "application/yaml")
    sent = objects.metadata_of(applied)
    if not isinstance(sent, dict):
        raise errors.BadRequest("metadata must be an object")
    metadata.fill_namespace(target, sent)
    sent["name"] = sent.get("name") or target.name
    metadata.check_name(target, sent)
    if applied.get("kind") != target.resource.kind:
        raise errors.BadRequest(
            f"Kind {applied.get('kind') or ''} in the patch does not match the expected kind {target.resource.kind}"
        )

    async def make(old: Object) -> Object:
        result = writing.copy(ownership.apply(parts, target, old, applied, write))
        version = sent.get("resourceVersion")
        if version:
            result["metadata"]["resourceVersion"] = version
        return intake.settle(parts, call, target.resource, result, write.field_validation)

    async def create() -> writing.Written:
        if sent.get("uid"):
            raise target.conflict(
                f"uid mismatch: the provided object specified uid {sent['uid']}, and no existing object was found"
            )
        result = writing.copy(ownership.apply(parts, target, None, applied, write))
        result = intake.settle(parts, call, target.resource, result, write.field_validation)
        return await writing.create(parts, call, target, result, write, options_kind="PatchOptions")

    return await writing.update(
        parts,
        call,
        target,
        make,
        write,
        create_missing=None if target.subresource else create,
        prepare=prepare,
        options_kind="PatchOptions",
        builds_on_head=not sent.get("resourceVersion"),
    )


def _decode(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as err:
        raise errors.BadRequest(f"error decoding patch: {err}") from err


def _describe(value: Any) -> str:
    return {list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(value), "number")
