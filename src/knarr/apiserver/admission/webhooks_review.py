"""AdmissionReview: what a webhook is told of a request, and what it may answer.

Source: k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go, webhook/errors/statuserror.go (v1.37).
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from knarr.api import errors
from knarr.api.scheme import Resource, Scheme
from knarr.api.user import User
from knarr.apiserver.admission.chain import DELETE, AdmissionRequest
from knarr.apiserver.admission.matching import Match, kind_of, namespace_of

Object = dict[str, Any]

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")
JSON_PATCH = "JSONPatch"


class BadReview(Exception):
    """Raised when a webhook's answer breaks the rules; the message says which."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered.

    Attributes:
        allowed: Whether the request may go on.
        status: Why not, as a Status; may be empty.
        patch: The decoded operations of a JSON patch; empty changes nothing.
        warnings: For the response.
        annotations: For the audit log.
    """

    allowed: bool
    status: Object = field(default_factory=dict)
    patch: list[Any] = field(default_factory=list)
    warnings: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def encode(
    request: AdmissionRequest,
    match: Match,
    scheme: Scheme,
    uid: str,
    version: str,
    new: Object | None,
    old: Object | None,
) -> bytes:
    """Write a review.

    Args:
        request: The request.
        match: As what the webhook sees it.
        scheme: What is served.
        uid: Names this call.
        version: "v1" or "v1beta1".
        new: The object in the version of `match`.
        old: The old object in it.
    """
    told: Object = {"uid": uid, **facts(request, match, scheme), "object": new, "oldObject": old}
    return msgspec.json.encode({"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": told})


def facts(request: AdmissionRequest, match: Match, scheme: Scheme) -> Object:
    """Return an AdmissionRequest without the objects, as expressions see it, too."""
    told: Object = {
        "kind": _kind(match.kind),
        "resource": _resource(match.resource),
        "requestKind": _kind(kind_of(scheme, request.resource, request.subresource)),
        "requestResource": _resource(request.resource),
        "operation": request.operation,
        "userInfo": user_info(request.user),
        "dryRun": request.dry_run,
        "options": options_of(request),
    }
    for name, value in (
        ("subResource", request.subresource),
        ("requestSubResource", request.subresource),
        ("name", request.name),
        ("namespace", namespace_of(request)),
    ):
        if value:
            told[name] = value
    return told


def options_of(request: AdmissionRequest) -> Object | None:
    """Return the options of a request as an object; CONNECT has none."""
    if request.operation == DELETE:
        return {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **request.options}
    return request.options or None


def user_info(user: User) -> Object:
    """Return a user as authentication/v1 UserInfo."""
    info: Object = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    info["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {key: value for key, value in info.items() if value}


def decode(body: bytes, uid: str, version: str, *, is_mutating: bool) -> Verdict:
    """Read and check an answer.

    Raises:
        BadReview: it breaks the rules.
    """
    try:
        review = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError) as err:
        raise BadReview(f"couldn't get version/kind; json parse error: {err}") from err
    if not isinstance(review, dict):
        raise BadReview(
            "couldn't get version/kind; json parse error: json: cannot unmarshal into Go value of type struct"
        )
    response = review.get("response")
    if not isinstance(response, dict):
        raise BadReview("webhook response was absent")
    if version == "v1":
        _check_identity(review, response, uid)
    patch_type, raw = response.get("patchType"), response.get("patch")
    if version == "v1beta1" and raw and patch_type is None:
        patch_type = JSON_PATCH
    if is_mutating and version == "v1":
        if raw and patch_type is None:
            raise BadReview("webhook returned response.patch but not response.patchType")
        if not raw and patch_type is not None:
            raise BadReview("webhook returned response.patchType but not response.patch")
        if patch_type == "":
            raise BadReview('webhook returned invalid response.patchType of ""')
    elif version == "v1":
        if raw:
            raise BadReview("validating webhook may not return response.patch")
        if patch_type is not None:
            raise BadReview("validating webhook may not return response.patchType")
    status = response.get("status")
    return Verdict(
        response.get("allowed") is True,
        dict(status) if isinstance(status, dict) else {},
        _patch(raw, patch_type) if is_mutating and raw else [],
        tuple(str(one) for one in response.get("warnings") or ()),
        {str(key): str(value) for key, value in (response.get("auditAnnotations") or {}).items()},
    )


def denied(name: str, status: Object) -> errors.StatusError:
    """Make the error by which a webhook refuses a request.

    Args:
        name: The webhook.
        status: The Status that it gave; may be empty.
    """
    by = f'admission webhook "{name}" denied the request'
    why = status.get("message") or status.get("reason")
    message = f"{by}: {why}" if why else f"{by} without explanation"
    code = status.get("code")
    code = code if isinstance(code, int) and 400 <= code <= 599 else 400
    details = status.get("details")
    error = errors.StatusError(message, details=details if isinstance(details, dict) else None)
    error.code, error.reason = code, str(status.get("reason") or "")
    return error


def _check_identity(review: Object, response: Object, uid: str) -> None:
    if response.get("uid") != uid:
        raise BadReview(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    api_version, kind = str(review.get("apiVersion") or ""), str(review.get("kind") or "")
    if (api_version, kind) != (f"{GROUP}/v1", "AdmissionReview"):
        shown = api_version if "/" in api_version else f"/{api_version}"
        raise BadReview(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {shown}, Kind={kind}")


def _patch(raw: Any, patch_type: Any) -> list[Any]:
    if patch_type != JSON_PATCH:
        raise BadReview(f'unsupported patch type "{patch_type}"')
    try:
        patch = msgspec.json.decode(base64.b64decode(raw, validate=True))
    except (binascii.Error, TypeError, ValueError, msgspec.DecodeError, RecursionError) as err:
        raise BadReview(f"received undecodable patch in webhook response: {err}") from err
    if patch is None:
        return []
    if not isinstance(patch, list):
        raise BadReview("received undecodable patch in webhook response: expected a list of operations")
    return patch


def _kind(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _resource(resource: Resource) -> Object:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}
