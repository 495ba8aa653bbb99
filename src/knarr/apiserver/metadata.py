"""What the server itself writes into metadata: identity at birth, and what survives an update.

Source: k8s.io/apiserver/pkg/registry/rest/{meta,create,update}.go; apiserver/pkg/storage/names/generate.go (v1.37).
"""

from random import Random
from typing import Any
from uuid import UUID

from knarr.api import errors
from knarr.apiserver.parts import Parts, Target

Object = dict[str, Any]

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_GENERATED_MAX = 63 - _SUFFIX
_IDENTITY = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink")


def new_uid(random: Random) -> str:
    """Draw a random UUID (version 4)."""
    return str(UUID(int=random.getrandbits(128), version=4))


def generate_name(random: Random, prefix: str) -> str:
    """Make a name from a generateName: the prefix, cut to fit, and five random characters."""
    return prefix[:_GENERATED_MAX] + "".join(random.choices(_ALPHABET, k=_SUFFIX))


def fill_namespace(target: Target, metadata: Object) -> None:
    """Put an object into the namespace of the request.

    Raises:
        BadRequest: it names another one, or its kind has none.
    """
    given = metadata.get("namespace") or ""
    if given == target.namespace or (not given and target.resource.namespaced):
        if target.resource.namespaced:
            metadata["namespace"] = target.namespace
        else:
            metadata.pop("namespace", None)
        return
    if not target.resource.namespaced:
        metadata.pop("namespace", None)
        return
    raise errors.BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def check_name(target: Target, metadata: Object) -> None:
    """Make sure that an object is the one that the URL names.

    Raises:
        BadRequest: it has another name, or none.
    """
    given = metadata.get("name") or ""
    if not given:
        why = f"the name of the object ({target.name} based on URL) was undeterminable: name must be provided"
        raise errors.BadRequest(why)
    if given != target.name:
        raise errors.BadRequest(f"the name of the object ({given}) does not match the name on the URL ({target.name})")
    namespace = metadata.get("namespace") or ""
    if namespace and target.namespace and namespace != target.namespace:
        raise errors.BadRequest(
            f"the namespace of the object ({namespace}) does not match the namespace on the request ({target.namespace})"
        )


def give_birth(parts: Parts, metadata: Object) -> None:
    """Give a new object its uid and creation time, and a name if it asks for one."""
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
        metadata.pop(name, None)
    metadata["uid"] = new_uid(parts.random)
    metadata["creationTimestamp"] = parts.now()
    if metadata.get("generateName") and not metadata.get("name"):
        metadata["name"] = generate_name(parts.random, metadata["generateName"])


def keep_identity(metadata: Object, old: Object) -> None:
    """Keep of the old object what an update cannot change, or says nothing about."""
    for name in ("generation", *_IDENTITY):
        if name == "uid" and metadata.get("uid"):
            continue
        if name in old:
            metadata[name] = old[name]
        else:
            metadata.pop(name, None)
    if "namespace" in old:
        metadata["namespace"] = old["namespace"]
