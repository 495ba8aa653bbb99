"""From a request's body to an object that can be admitted: read, checked against its schema, normalized, with defaults.

Source: k8s.io/apiserver/pkg/endpoints/handlers/{create,rest}.go (v1.37).
"""

import base64
from typing import Any

from knarr.api import codec, defaults, errors, protobuf, schema
from knarr.api.scheme import Resource
from knarr.apiserver import negotiate, options
from knarr.apiserver.customresources import intake as custom_intake
from knarr.apiserver.parts import Call, Parts, Target

Object = dict[str, Any]

BODY_TYPES = (negotiate.JSON, negotiate.YAML, negotiate.PROTOBUF)
_OPTIONS_GROUPS = {"", "v1", "meta.k8s.io/v1", "v1beta1", "meta.k8s.io/v1beta1"}


def read(parts: Parts, call: Call, target: Target, field_validation: str) -> Object:
    """Read the object that a create or update sends.

    Args:
        parts: The server's parts.
        call: The request; what is wrong but tolerated becomes a warning.
        target: What is written, and through which subresource.
        field_validation: "Strict", "Warn" or "Ignore".

    Raises:
        UnsupportedMediaType: the body's media type is not understood.
        BadRequest: the body is no object of this kind.
    """
    resource = target.resource
    if target.subresource:
        resource = subresource_kind(parts, target)
    content_type = negotiate.body_media_type(call.request.headers.get("content-type") or "", BODY_TYPES)
    obj = decode(call, content_type, resource.kind, resource.api_version)
    check_kind(obj, resource)
    repeated: tuple[str, ...] = ()
    if field_validation != options.IGNORE and content_type != negotiate.PROTOBUF:
        repeated = codec.find_duplicates(call.request.body, content_type, obj)
    settled = settle(parts, call, resource, obj, field_validation, repeated)
    if call.record is not None:
        call.record.note_object(settled)
    return settled


def decode(call: Call, content_type: str, kind: str = "", api_version: str = "v1") -> Object:
    """Decode a request's body.

    Args:
        call: The request.
        content_type: The media type of its body.
        kind: What is expected.
        api_version: Its version.

    Raises:
        BadRequest: it is no object.
    """
    body = call.request.body
    try:
        if content_type == negotiate.PROTOBUF:
            return protobuf.decode(body, api_version, kind)
        return codec.decode(body, content_type)
    except codec.BadBody as err:
        raise codec.unrecognized(kind or "object", body, err) from err
    except protobuf.BadMessage as err:
        raise codec.cannot_handle(err.kind, err.version, kind, err) from err


def check_kind(obj: Object, resource: Resource) -> None:
    """Make sure that an object is of the kind and version asked for, filling in what it leaves out.

    Raises:
        BadRequest: it is of another one.
    """
    kind, api_version = str(obj.get("kind") or resource.kind), str(obj.get("apiVersion") or resource.api_version)
    if kind != resource.kind:
        why = f"converting ({api_version}.{kind}) to ({resource.api_version}.{resource.kind}): unknown conversion"
        raise codec.cannot_handle(kind, api_version.rpartition("/")[2], resource.kind, why)
    if api_version != resource.api_version:
        raise errors.BadRequest(
            f"the API version in the data ({api_version}) does not match the expected API version ({resource.api_version})"
        )
    obj["kind"], obj["apiVersion"] = kind, api_version


def settle(
    parts: Parts, call: Call, resource: Resource, obj: Object, field_validation: str, repeated: tuple[str, ...] = ()
) -> Object:
    """Check an object against its schema, normalize it and set its defaults.

    Args:
        parts: The server's parts.
        call: Gathers the warnings.
        resource: The kind.
        obj: The object; it may be changed.
        field_validation: "Strict", "Warn" or "Ignore".
        repeated: Complaints about duplicate fields.

    Raises:
        BadRequest: a field has the wrong type, or, with strict validation, is unknown or given twice.
    """
    version = parts.custom.of(resource)
    if version is not None:
        obj, unknown = custom_intake.settle(version, obj)
        _complain(call, resource, (*repeated, *unknown), field_validation)
        return obj
    definition = parts.type_of(resource)
    if definition is None:
        return obj
    try:
        converted = schema.convert(obj, definition)
    except schema.DecodeError as err:
        raise codec.cannot_handle(resource.kind, resource.version, resource.kind, err) from err
    _complain(call, resource, (*repeated, *converted.unknown), field_validation)
    result: Object = converted.object
    if resource.kind == "Secret" and resource.group == "":
        _merge_string_data(result)
    defaults.apply(resource, result)
    return result


def _complain(call: Call, resource: Resource, complaints: tuple[str, ...], field_validation: str) -> None:
    if complaints and field_validation == options.STRICT:
        raise codec.cannot_handle(resource.kind, resource.version, resource.kind, codec.strict_error(complaints))
    if field_validation == options.WARN:
        call.warnings += complaints


def decode_options(call: Call, kind: str) -> Object:
    """Decode the options that a request carries as its body, such as DeleteOptions.

    Raises:
        UnsupportedMediaType: the body's media type is not understood.
        BadRequest: they cannot be read.
    """
    content_type = negotiate.body_media_type(call.request.headers.get("content-type") or "", BODY_TYPES)
    obj = decode(call, content_type, kind)
    given = obj.get("kind")
    if given not in (None, "", kind):
        raise codec.cannot_handle(str(given), "v1", kind, f"expected {kind}")
    try:
        checked = schema.convert(obj, schema.built_in().get(f"io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"))
    except schema.DecodeError as err:
        raise codec.cannot_handle(kind, "v1", kind, err) from err
    result: Object = checked.object
    result.pop("kind", None)
    result.pop("apiVersion", None)
    return result


def subresource_kind(parts: Parts, target: Target) -> Resource:
    """Return the kind that a subresource takes: the object's own, or one such as Scale."""
    sub = target.resource.subresource(target.subresource)
    assert sub is not None
    if sub.kind == target.resource.kind and (sub.group, sub.version) == (
        target.resource.group,
        target.resource.version,
    ):
        return target.resource
    package = next((r.definition.rpartition(".")[0] for r in parts.scheme.resources(sub.group, sub.version)), "")
    return Resource(
        group=sub.group,
        version=sub.version,
        kind=sub.kind,
        plural=target.resource.plural,
        singular="",
        namespaced=target.resource.namespaced,
        verbs=sub.verbs,
        definition=f"{package}.{sub.kind}",
    )


def _merge_string_data(secret: Object) -> None:
    """Turn the write-only stringData of a Secret into data."""
    given = secret.pop("stringData", None)
    if given:
        data = secret.setdefault("data", {})
        for key, value in given.items():
            data[key] = base64.b64encode(value.encode(errors="replace")).decode()
