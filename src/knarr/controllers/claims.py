"""Which objects an owner controls: orphans that its selector matches are adopted, those that no longer match are let go.

Upstream counterpart: pkg/controller/controller_ref_manager.go.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from lightkube.models import meta_v1

from knarr.api import errors
from knarr.client import Client, PatchType
from knarr.control import informer, owners, selectors

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Claims(Generic[T]):
    """What becomes of the candidates.

    Attributes:
        kept: Controlled and matching.
        adopt: Without a controller, and matching.
        release: Controlled, but no longer matching.
    """

    kept: Sequence[T]
    adopt: Sequence[T]
    release: Sequence[T]


def plan(owner: Any, candidates: Iterable[T], selector: meta_v1.LabelSelector | None) -> Claims[T]:
    """Sort candidates by what becomes of them.

    Args:
        owner: The would-be controller.
        candidates: Objects of its namespace.
        selector: What it selects.
    """
    kept, adopt, release = [], [], []
    for one in candidates:
        meta = _meta(one)
        reference = owners.controller_of(one)
        matching = selectors.matches(selector, meta.labels)
        if reference is not None:
            if reference.uid != _meta(owner).uid:
                continue
            if matching:
                kept.append(one)
            elif _meta(owner).deletionTimestamp is None:
                release.append(one)
        elif matching and _meta(owner).deletionTimestamp is None and meta.deletionTimestamp is None:
            adopt.append(one)
    return Claims(kept, adopt, release)


async def claim(
    client: Client,
    owner: Any,
    candidates: Iterable[T],
    selector: meta_v1.LabelSelector | None,
    *,
    finalizers: Sequence[str] = (),
) -> list[T]:
    """Adopt and release as planned, and return what the owner controls now.

    Args:
        client: Writes the references.
        owner: The would-be controller.
        candidates: Objects of its namespace.
        selector: What it selects.
        finalizers: Which come and go with its reference.

    Raises:
        Conflict: the owner is not any more what it was.
    """
    planned = plan(owner, candidates, selector)
    claimed = [*planned.kept]
    if planned.adopt:
        live = await client.get(type(owner), _meta(owner).name or "", namespace=_meta(owner).namespace or "")
        if _meta(live).uid != _meta(owner).uid or _meta(live).deletionTimestamp is not None:
            kind = client.kinds.of(type(owner)).resource
            raise errors.Conflict(
                kind.group, kind.plural, _meta(owner).name or "", "it is being deleted or was made anew"
            )
    for one in planned.adopt:
        references = [*(_meta(one).ownerReferences or ()), owners.controller_reference(owner)]
        change = {"ownerReferences": [_plain(reference) for reference in references]}
        adopted = await _patch(client, one, {**change, "finalizers": [*finalizers]} if finalizers else change)
        if adopted is not None:
            claimed.append(adopted)
    for one in planned.release:
        change = {"ownerReferences": [{"$patch": "delete", "uid": _meta(owner).uid}]}
        gone = {"$deleteFromPrimitiveList/finalizers": [*finalizers]} if finalizers else {}
        await _patch(client, one, {**change, **gone})
    return claimed


async def _patch(client: Client, one: T, change: dict[str, Any]) -> T | None:
    namespace, name = informer.key_of(one)
    body = {"metadata": {"uid": _meta(one).uid, **change}}
    try:
        return await client.patch(type(one), name, body, PatchType.STRATEGIC, namespace=namespace)
    except (errors.NotFound, errors.Invalid):
        return None  # gone, or gone and made anew: its own events will tell


def _plain(reference: meta_v1.OwnerReference) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(reference).items() if value is not None}


def _meta(obj: Any) -> meta_v1.ObjectMeta:
    assert obj.metadata
    meta: meta_v1.ObjectMeta = obj.metadata
    return meta
