"""The bootstrap objects are kept: made when missing, and brought up to date as long as nobody took them over.

A mandatory object always is as it should be. A suggested one follows its annotation `apf.kubernetes.io/autoupdate-spec`; without the
annotation, it does until somebody changes its spec.

Source: pkg/registry/flowcontrol/{rest,ensurer} (v1.37).
"""

import asyncio
from typing import Any

import msgspec

from knarr.api import errors
from knarr.apiserver.flowcontrol import objects
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

PERIOD_S = 60.0
_SETS = (
    (objects.LEVELS, objects.MANDATORY_LEVELS, objects.SUGGESTED_LEVELS),
    (objects.SCHEMAS, objects.MANDATORY_SCHEMAS, objects.SUGGESTED_SCHEMAS),
)


async def run(parts: Parts) -> None:
    """Look after the objects once a minute."""
    while True:
        await parts.clock.sleep(PERIOD_S)
        await ensure(parts)


async def ensure(parts: Parts) -> None:
    """Bring the objects to where they should be, all at once."""
    steps = []
    for resource, mandatory, suggested in _SETS:
        names = {one["metadata"]["name"] for one in (*mandatory, *suggested)}
        current = {one["metadata"]["name"]: one for one in parts.registry.list(resource)}
        for wanted, is_mandatory in [(one, True) for one in mandatory] + [(one, False) for one in suggested]:
            existing = current.get(wanted["metadata"]["name"])
            if existing is None:
                steps.append(_create(parts, resource, wanted))
            elif (changed := plan(wanted, existing, mandatory=is_mandatory)) is not None:
                steps.append(_update(parts, resource, changed))
        for name, existing in current.items():
            if name not in names and _annotation(existing) == "true":
                steps.append(_delete(parts, resource, name))
    await asyncio.gather(*steps)


def plan(wanted: Object, current: Object, *, mandatory: bool) -> Object | None:
    """Return what an existing object should become, or None if it is fine."""
    metadata = current["metadata"]
    given = _annotation(current)
    follows = mandatory or given == "true" or (given != "false" and metadata.get("generation", 1) == 1)
    value = "true" if follows else "false"
    spec = wanted["spec"] if follows else current["spec"]
    if given == value and spec == current["spec"]:
        return None
    changed = {**metadata, "annotations": {**(metadata.get("annotations") or {}), objects.AUTO_UPDATE: value}}
    if spec != current["spec"]:
        changed["generation"] = metadata.get("generation", 1) + 1
    return {**current, "metadata": changed, "spec": spec}


def _annotation(obj: Object) -> str:
    found = (obj["metadata"].get("annotations") or {}).get(objects.AUTO_UPDATE, "")
    return str(found)


async def _create(parts: Parts, resource: str, wanted: Object) -> None:
    copied: Object = msgspec.json.decode(msgspec.json.encode(wanted))
    copied["metadata"].update(uid=new_uid(parts.random), creationTimestamp=parts.now(), generation=1)
    kind = parts.registry.resource(resource).kind
    try:
        await parts.registry.create(resource, {"kind": kind, "apiVersion": objects.API_VERSION, **copied, "status": {}})
    except errors.AlreadyExists:
        return  # another server was faster


async def _update(parts: Parts, resource: str, changed: Object) -> None:
    try:
        await parts.registry.update(resource, changed)
    except (errors.Conflict, errors.NotFound):
        return  # next time


async def _delete(parts: Parts, resource: str, name: str) -> None:
    await parts.registry.delete(resource, "", name)
