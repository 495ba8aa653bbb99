"""Subresources that write a part of an object: namespaces/finalize, approval, ephemeralcontainers, resize; and tokens.

Source: pkg/registry/core/{namespace,pod,serviceaccount}/storage, pkg/registry/certificates/certificates/strategy.go (v1.37).
"""

from typing import Any

from knarr.apiserver import intake, objects, options, responses
from knarr.apiserver.admission.chain import CREATE, AdmissionRequest
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import kinds
from knarr.apiserver.strategies.strategy import Context, bump_generation
from knarr.apiserver.verbs import get, patch, update, writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]

_RESIZED = ("resources", "resizePolicy")


async def serve_part(parts: Parts, call: Call, target: Target, prepare: writing.Prepare) -> Response:
    """Read the object, or change the part of it that `prepare` lets through."""
    if call.info.verb == "get":
        return await get.serve(parts, call, target)
    if call.info.verb == "update":
        return await update.serve(parts, call, target, prepare=prepare)
    return await patch.serve(parts, call, target, prepare=prepare)


def prepare_finalize(context: Context, obj: Object, old: Object) -> None:
    """Let only spec.finalizers of a namespace through."""
    finalizers = (obj.get("spec") or {}).get("finalizers")
    obj["spec"] = {"finalizers": finalizers} if finalizers else {}
    obj["status"] = old.get("status") or {}


def prepare_approval(context: Context, obj: Object, old: Object) -> None:
    """Let only the conditions of a certificate signing request through, and date them."""
    before = old.get("status") or {}
    status = dict(obj.get("status") or {})
    obj["spec"] = old.get("spec") or {}
    status.pop("certificate", None)
    if before.get("certificate"):
        status["certificate"] = before["certificate"]
    kinds.date_conditions(context, status, before)
    obj["status"] = status


def prepare_ephemeral_containers(context: Context, obj: Object, old: Object) -> None:
    """Let only spec.ephemeralContainers of a pod through."""
    added = (obj.get("spec") or {}).get("ephemeralContainers")
    spec = dict(old["spec"])
    spec.pop("ephemeralContainers", None)
    if added:
        spec["ephemeralContainers"] = added
    _keep_all_but_spec(obj, old, spec)


def prepare_resize(context: Context, obj: Object, old: Object) -> None:
    """Let only the resources of a pod's containers through."""
    spec = dict(old["spec"])
    sent = obj.get("spec") or {}
    kinds = ("containers", "initContainers")
    if any(len(sent.get(kind) or ()) != len(spec.get(kind) or ()) for kind in kinds):
        return  # validation says what is wrong
    for kind in kinds:
        pairs = list(zip(spec.get(kind) or (), sent.get(kind) or (), strict=True))
        if any(was.get("name") != new.get("name") for was, new in pairs):
            spec[kind] = sent[kind]
        elif pairs:
            spec[kind] = [_resized(was, new) for was, new in pairs]
    if "resources" in sent:
        spec["resources"] = sent["resources"]
    _keep_all_but_spec(obj, old, spec)


async def serve_token(parts: Parts, call: Call, target: Target) -> Response:
    """Issue a token for a service account."""
    write = options.write_options(call.values, "CreateOptions")
    request = intake.read(parts, call, target, write.field_validation)
    account = parts.registry.get(target.stored, target.namespace, target.name)
    if account is None:
        raise target.not_found()
    admission = AdmissionRequest(
        CREATE,
        target.resource,
        target.subresource,
        target.namespace,
        target.name,
        request,
        None,
        call.user,
        write.dry_run,
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(admission)
    await parts.chain.validate(admission)
    objects.metadata_of(request)
    return await responses.send_object(call, await parts.issuer.issue(request, account), 201)


def _resized(container: Object, wanted: Object) -> Object:
    kept = {name: value for name, value in container.items() if name not in _RESIZED}
    return {**kept, **{name: wanted[name] for name in _RESIZED if name in wanted}}


def _keep_all_but_spec(obj: Object, old: Object, spec: Object) -> None:
    metadata, before = obj["metadata"], old["metadata"]
    kept = {name: value for name, value in before.items() if name != "managedFields"}
    if metadata.get("managedFields"):
        kept["managedFields"] = metadata["managedFields"]
    obj["metadata"], obj["spec"], obj["status"] = kept, spec, old.get("status") or {}
    if spec != old["spec"]:
        bump_generation(obj)
