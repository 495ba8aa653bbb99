"""DELETE of a collection: each object of a list, as if deleted by itself."""

from knarr.api import errors
from knarr.apiserver import keys, negotiate, options, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.verbs import delete, list
from knarr.kit.http.messages import Response


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer with the list of what was deleted, as it was read."""
    form = negotiate.of(call.request, target.resource)
    given = delete.read_options(call)
    page = await list.read(parts, target, options.list_options(call.values, watch=False))
    for entry in page.entries:
        namespace, name = keys.split(target.resource, entry.key)
        one = Target(target.resource, target.stored, "", namespace, name)
        try:
            await delete.delete(parts, call, one, given)
        except errors.NotFound:
            continue  # somebody else was faster
    values = await reading.show(parts, target.resource, [entry.value for entry in page.entries])
    body = views.of(parts, call, target, form).many(values, list.list_metadata(target, page))
    return await responses.send(call, form, body)
