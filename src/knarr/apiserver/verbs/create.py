"""POST to a collection."""

from knarr.apiserver import intake, negotiate, options, ownership, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.verbs import writing
from knarr.kit.http.messages import Response


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with the stored object."""
    form = negotiate.of(call.request, target.resource)
    write = options.write_options(call.values, "CreateOptions")
    obj = intake.read(parts, call, target, write.field_validation)
    obj = ownership.track(parts, call, target, None, obj, write)
    written = await writing.create(parts, call, target, obj, write)
    value = await reading.show_one(parts, target.resource, written.value)
    body = views.of(parts, call, target, form).one(value)
    return await responses.send(call, form, body, 201)
