"""Resources that are asked and not kept: access and token reviews, and the states of components.

Source: pkg/registry/{authorization,authentication,core/componentstatus} (v1.37).
"""

from typing import Any

from knarr.api import codec, errors
from knarr.apiserver import intake, negotiate, objects, options, responses, views
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest
from knarr.apiserver.authn import reviews as token_reviews
from knarr.apiserver.authz import reviews as access_reviews
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.subresources import binding
from knarr.kit.http.messages import Response

Object = dict[str, Any]

_TOKEN_REVIEWS = {"tokenreviews", "selfsubjectreviews"}
_COMPONENTS = ("scheduler", "controller-manager", "etcd-0")


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Answer a request for a resource that is not stored."""
    plural = target.resource.plural
    if plural == "bindings":
        return await binding.serve(parts, call, target)
    if plural == "componentstatuses":
        return await _components(parts, call, target)
    return await _review(parts, call, target)


async def _review(parts: Parts, call: Call, target: Target) -> Response:
    write = options.write_options(call.values, "CreateOptions")
    obj = intake.read(parts, call, target, write.field_validation)
    objects.metadata_of(obj)
    plural = target.resource.plural
    request = AdmissionRequest(
        CREATE,
        target.resource,
        "",
        target.namespace,
        "",
        obj,
        None,
        call.user,
        write.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(request)
    await parts.chain.validate(request)
    if plural in _TOKEN_REVIEWS:
        answer = await token_reviews.review(parts.authenticator, plural, obj, call.user)
    else:
        answer = await access_reviews.review(parts.authorizer, plural, target.namespace, obj, call.user)
    return await responses.send_object(call, answer, 201)


async def _components(parts: Parts, call: Call, target: Target) -> Response:
    form = negotiate.choose(call.request.headers.get("accept") or "")
    view = views.of(parts, call, target, form)
    if not target.name:
        return await responses.send(call, form, view.many([_healthy(name) for name in _COMPONENTS], {}))
    if target.name not in _COMPONENTS:
        raise errors.NotFound("", "componentstatuses", target.name)
    return await responses.send(call, form, view.one(_healthy(target.name)))


def _healthy(name: str) -> bytes:
    # All of them run in this process: it answers, so they are there.
    conditions = [{"type": "Healthy", "status": "True", "message": "ok"}]
    found = {"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": conditions}
    return codec.encode_response(found)
