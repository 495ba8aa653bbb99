"""Custom objects from one version of their kind to another: a new apiVersion, or what a webhook makes of them.

Source: k8s.io/apiextensions-apiserver/pkg/apiserver/conversion: nop_converter.go, webhook_converter.go (v1.37).
"""

from typing import Any

import msgspec

from knarr.api import errors
from knarr.apiserver import webhooks
from knarr.apiserver.customresources.definitions import Version
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

TIMEOUT_S = 30.0
_GROUP = "apiextensions.k8s.io"
_REVIEWS = ("v1", "v1beta1")


async def convert(parts: Parts, version: Version, objs: list[Object]) -> list[Object]:
    """Return objects in a version of their kind; the dicts are the caller's own, before and after.

    Args:
        parts: The server's parts.
        version: The version that is wanted.
        objs: Objects of any versions of the kind.

    Raises:
        InternalError: the webhook fails, or breaks the rules.
    """
    wanted = version.resource.api_version
    others = [index for index, obj in enumerate(objs) if obj.get("apiVersion") != wanted]
    if not others:
        return objs
    if not version.definition.is_webhook:
        for index in others:
            objs[index]["apiVersion"] = wanted
        return objs
    converted = await _ask(parts, version, [objs[index] for index in others])
    for index, obj in zip(others, converted, strict=True):
        objs[index] = obj
    return objs


async def _ask(parts: Parts, version: Version, objs: list[Object]) -> list[Object]:
    wanted, kind = version.resource.api_version, version.resource.kind
    webhook = version.definition.conversion.get("webhook") or {}
    review = next((one for one in webhook.get("conversionReviewVersions") or () if one in _REVIEWS), "")
    uid = new_uid(parts.random)
    body = {
        "kind": "ConversionReview",
        "apiVersion": f"{_GROUP}/{review}",
        "request": {"uid": uid, "desiredAPIVersion": wanted, "objects": objs},
    }
    what = f"{objs[0].get('apiVersion')}, Kind={kind}"
    try:
        if not review:
            raise webhooks.CallFailed("the webhook takes no version of ConversionReview that this server has")
        config = webhook.get("clientConfig") or {}
        answer = await parts.webhooks.post(config, msgspec.json.encode(body), timeout_s=TIMEOUT_S)
        return _read(_decode(answer), uid, wanted, kind, objs)
    except webhooks.CallFailed as err:
        error = errors.InternalError("")
        error.message = f"conversion webhook for {what} failed: {err}"
        error.details = {}
        raise error from err


def _decode(answer: bytes) -> Object:
    try:
        decoded = msgspec.json.decode(answer)
    except (msgspec.DecodeError, RecursionError) as err:
        raise webhooks.CallFailed(f"invalid response: {err}") from err
    if not isinstance(decoded, dict):
        raise webhooks.CallFailed("invalid response: no object")
    return decoded


def _read(answer: Object, uid: str, wanted: str, kind: str, objs: list[Object]) -> list[Object]:
    response = answer.get("response")
    if not isinstance(response, dict):
        raise webhooks.CallFailed("invalid response: missing response")
    if response.get("uid") != uid:
        raise webhooks.CallFailed(f'invalid response: expected uid "{uid}", got "{response.get("uid")}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise webhooks.CallFailed(str(result.get("message") or "unknown error"))
    converted = response.get("convertedObjects") or []
    if len(converted) != len(objs):
        raise webhooks.CallFailed(f"invalid response: expected {len(objs)} converted objects, got {len(converted)}")
    return [
        _accept(one, before, index, wanted, kind)
        for index, (one, before) in enumerate(zip(converted, objs, strict=True))
    ]


def _accept(obj: Any, before: Object, index: int, wanted: str, kind: str) -> Object:
    """Check a converted object; of its metadata only labels and annotations may have changed."""
    where = f"invalid converted object at index {index}"
    if not isinstance(obj, dict):
        raise webhooks.CallFailed(f"{where}: no object")
    if obj.get("apiVersion") != wanted:
        raise webhooks.CallFailed(f'{where}: invalid apiVersion: got "{obj.get("apiVersion")}", expected "{wanted}"')
    if obj.get("kind") != kind:
        raise webhooks.CallFailed(f'{where}: invalid kind: got "{obj.get("kind")}", expected "{kind}"')
    metadata, old = obj.get("metadata"), before.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise webhooks.CallFailed(f"{where}: invalid metadata of type {type(metadata).__name__} in converted object")
    for name in ("name", "namespace", "uid"):
        if (metadata.get(name) or "") != (old.get(name) or ""):
            raise webhooks.CallFailed(
                f'{where}: mutated metadata.{name}: got "{metadata.get(name)}", expected "{old.get(name)}"'
            )
    kept = {key: value for key, value in old.items() if key not in ("labels", "annotations")}
    for key in ("labels", "annotations"):
        if metadata.get(key):
            kept[key] = metadata[key]
    return {**obj, "metadata": kept}
