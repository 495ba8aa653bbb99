"""scale: the number of replicas of a workload, as a kind of its own.

Source: ScaleREST in pkg/registry/apps/{deployment,replicaset,statefulset}/storage/storage.go (v1.37).
"""

from typing import Any

from knarr.api import codec, errors, field, labels
from knarr.api.managedfields import scale as scales
from knarr.api.scheme import Resource
from knarr.apiserver import intake, metadata, negotiate, objects, options, ownership, responses, views
from knarr.apiserver.customresources import reading
from knarr.apiserver.customresources import scale as custom_scale
from knarr.apiserver.parts import Call, Parts, Target
from knarr.apiserver.strategies import table
from knarr.apiserver.verbs import patch, writing
from knarr.kit.http.messages import Response

Object = dict[str, Any]

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


async def serve(parts: Parts, call: Call, target: Target) -> Response:
    """Read or change the scale."""
    if call.info.verb == "get":
        entry = parts.store.get(target.key)
        if entry is None:
            raise target.not_found()
        return await _send(parts, call, target, entry.value)
    kind = intake.subresource_kind(parts, target)
    if call.info.verb == "update":
        return await _update(parts, call, target, kind)
    return await _patch(parts, call, target, kind)


def _scale_of(parts: Parts, target: Target, obj: Object) -> Object:
    version = parts.custom.of(target.resource)
    if version is None or version.scale is None:
        return to_scale(obj)
    return custom_scale.to_scale(obj, version.scale)


def _resize(parts: Parts, target: Target, old: Object, replicas: int) -> Object:
    version = parts.custom.of(target.resource)
    if version is None or version.scale is None:
        return {**old, "spec": {**(old.get("spec") or {}), "replicas": replicas}}
    return custom_scale.with_replicas(old, version.scale, replicas)


def to_scale(obj: Object) -> Object:
    """Return the scale of a workload."""
    spec, status, before = obj.get("spec") or {}, obj.get("status") or {}, obj["metadata"]
    replicas = spec.get("replicas")
    shown: Object = {"replicas": status.get("replicas") or 0}
    selector = _selector(spec)
    if selector:
        shown["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: before[name] for name in _IDENTITY if name in before},
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def _selector(spec: Object) -> str:
    selector = spec.get("selector") or {}
    is_object = "matchLabels" in selector or "matchExpressions" in selector
    return str(labels.from_object(selector) if is_object else labels.from_map(selector))


async def _update(parts: Parts, call: Call, target: Target, kind: Resource) -> Response:
    write = options.write_options(call.values, "UpdateOptions")
    sent = intake.read(parts, call, target, write.field_validation)
    sent_metadata = objects.metadata_of(sent)
    metadata.fill_namespace(target, sent_metadata)
    metadata.check_name(target, sent_metadata)

    async def make(old: Object) -> Object:
        return _scaled(parts, call, target, old, sent, write)

    return await _write(parts, call, target, make, write, "UpdateOptions")


async def _patch(parts: Parts, call: Call, target: Target, kind: Resource) -> Response:
    content_type = call.request.headers.get("content-type") or ""
    patch_type = negotiate.body_media_type(content_type, patch.TYPES)
    write = options.write_options(call.values, "PatchOptions", patch_type=patch_type)

    async def make(old: Object) -> Object:
        scale = _scale_of(parts, target, old)
        if patch_type == patch.APPLY:
            return _applied(parts, call, target, kind, old, scale, write)
        changed = patch.patched(parts, patch_type, scale, call.request.body, parts.type_of(kind))
        changed = intake.settle(parts, call, kind, writing.copy(changed), write.field_validation)
        if changed["metadata"].get("resourceVersion") == scale["metadata"].get("resourceVersion"):
            changed["metadata"].pop("resourceVersion", None)
        return _scaled(parts, call, target, old, changed, write)

    return await _write(parts, call, target, make, write, "PatchOptions")


def _applied(
    parts: Parts, call: Call, target: Target, kind: Resource, old: Object, scale: Object, write: options.WriteOptions
) -> Object:
    """Return the workload with the replicas of a scale that is applied, which other owners of theirs may resist.

    Raises:
        ApplyConflict: they do.
    """
    applied = intake.decode(call, "application/yaml", kind.kind)
    sent = objects.metadata_of(applied)
    metadata.check_name(target, sent)
    path, listed = _path(parts, target), old["metadata"].get("managedFields")
    shown = {**scale, "metadata": {**scale["metadata"], "managedFields": scales.to_scale(listed, path)}}
    settled = ownership.apply(
        parts, Target(kind, kind, target.subresource, target.namespace, target.name), shown, applied, write
    )
    kept = scales.to_parent(listed, settled["metadata"].get("managedFields"), path, target.resource.api_version)
    settled = intake.settle(parts, call, kind, writing.copy(settled), write.field_validation)
    obj = _with_replicas(parts, target, old, settled)
    obj["metadata"] = {key: value for key, value in old["metadata"].items() if key != "managedFields"}
    if kept:
        obj["metadata"]["managedFields"] = kept
    return _conditional(obj, sent)


def _path(parts: Parts, target: Target) -> list[str]:
    version = parts.custom.of(target.resource)
    if version is None or version.scale is None:
        return ["spec", "replicas"]
    return version.scale.spec_replicas.removeprefix(".").split(".")


def _scaled(
    parts: Parts, call: Call, target: Target, old: Object, scale: Object, write: options.WriteOptions
) -> Object:
    """Return the workload with the replicas of a scale."""
    obj = ownership.track(parts, call, target, old, _with_replicas(parts, target, old, scale), write)
    return _conditional(obj, scale.get("metadata") or {})


def _with_replicas(parts: Parts, target: Target, old: Object, scale: Object) -> Object:
    replicas = (scale.get("spec") or {}).get("replicas") or 0
    if replicas < 0:
        words = "must be greater than or equal to 0"
        problem = field.invalid(field.Path("spec.replicas"), replicas, words)
        raise errors.Invalid("autoscaling", "Scale", target.name, [problem])
    return {**_resize(parts, target, old, replicas), "metadata": dict(old["metadata"])}


def _conditional(obj: Object, sent: Object) -> Object:
    """Return the workload as of the version and uid that the caller named."""
    obj["metadata"]["resourceVersion"] = sent.get("resourceVersion") or ""
    if sent.get("uid"):
        obj["metadata"]["uid"] = sent["uid"]
    return writing.copy(obj)


async def _write(
    parts: Parts, call: Call, target: Target, make: writing.Make, write: options.WriteOptions, options_kind: str
) -> Response:
    prepare = table.of(target.stored).on_update
    written = await writing.update(parts, call, target, make, write, prepare=prepare, options_kind=options_kind)
    return await _send(parts, call, target, written.value)


async def _send(parts: Parts, call: Call, target: Target, value: bytes) -> Response:
    form = negotiate.choose(call.request.headers.get("accept") or "")
    kind = intake.subresource_kind(parts, target)
    view = views.of(parts, call, Target(kind, kind, "", target.namespace, target.name), form)
    scale = _scale_of(parts, target, await reading.decode(parts, target.resource, value))
    return await responses.send(call, form, view.one(codec.encode_response(scale)))
