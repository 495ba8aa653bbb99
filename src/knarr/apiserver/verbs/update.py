"""PUT: the whole object, or through a subresource a part of it, in the place of what is stored."""

from typing import Any

from knarr.apiserver import intake, metadata, negotiate, objects, options, ownership, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table
from knarr.apiserver.verbs import writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]


async def serve(parts: Parts, call: Call, target: Target, *, prepare: writing.Prepare | None = None) -> Response:
    """Answer with the stored object.

    Args:
        parts: The server's parts.
        call: Who asks, and with what.
        target: Which object, perhaps through a subresource.
        prepare: What the subresource does instead of the strategy.
    """
    form = negotiate.of(call.request, target.resource)
    write = options.write_options(call.values, "UpdateOptions")
    sent = intake.read(parts, call, target, write.field_validation)
    sent_metadata = objects.metadata_of(sent)
    metadata.fill_namespace(target, sent_metadata)
    metadata.check_name(target, sent_metadata)

    async def make(old: Object) -> Object:
        return ownership.track(parts, call, target, old, writing.copy(sent), write)

    async def create() -> writing.Written:
        obj = ownership.track(parts, call, target, None, writing.copy(sent), write)
        uid = sent_metadata.get("uid")
        if uid:
            raise target.conflict(f"Precondition failed: UID in precondition: {uid}, UID in object meta: ")
        objects.metadata_of(obj).pop("resourceVersion", None)
        return await writing.create(parts, call, target, obj, write)

    may_create = not target.subresource and table.of(target.stored).create_on_update
    written = await writing.update(
        parts, call, target, make, write, create_missing=create if may_create else None, prepare=prepare
    )
    value = await reading.show_one(parts, target.resource, written.value)
    body = views.of(parts, call, target, form).one(value)
    return await responses.send(call, form, body, 201 if written.created else 200)
