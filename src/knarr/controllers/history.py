"""ControllerRevisions: the templates that a DaemonSet or StatefulSet has had, numbered, for rollouts and going back.

Upstream counterpart: pkg/controller/history; the data format is what `kubectl rollout undo` applies as a patch.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors
from knarr.client import Client
from knarr.control import informer, owners
from knarr.controllers.template import template_hash

HASH = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"

Data = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the history needs.

    Attributes:
        current: The revision of the owner's present template.
        create: Whether it is new.
        update: Whether it exists, but is to become the newest again.
    """

    current: apps_v1.ControllerRevision
    create: bool = False
    update: bool = False


def data_of(template: core_v1.PodTemplateSpec | None) -> Data:
    """Return a template as the patch that brings it back, its keys sorted: upstream's Go compares patches byte by byte."""
    plain = msgspec.to_builtins(template) if template is not None else {}
    patch = {"spec": {"template": {**plain, "$patch": "replace"}}}
    ordered: Data = msgspec.json.decode(msgspec.json.encode(patch, order="sorted"))
    return ordered


def template_of(revision: apps_v1.ControllerRevision) -> core_v1.PodTemplateSpec:
    """Return the template that a revision holds."""
    data = revision.data
    plain = dict(data["spec"]["template"]) if isinstance(data, dict) else {}
    plain.pop("$patch", None)
    return msgspec.convert(plain, core_v1.PodTemplateSpec, strict=False)


def plan(owner: Any, revisions: Sequence[apps_v1.ControllerRevision], collisions: int, label: str = HASH) -> Wanted:
    """Decide which revision stands for the owner's present template.

    Args:
        owner: A DaemonSet or StatefulSet.
        revisions: Those that it controls.
        collisions: Its collision count.
        label: Key of the label that has the hash.
    """
    template: core_v1.PodTemplateSpec = owner.spec.template
    data = data_of(template)
    ordered = sorted(revisions, key=_number)
    newest = _number(ordered[-1]) if ordered else 0
    equal = next((one for one in reversed(ordered) if _is_same(one.data, data)), None)
    if equal is not None:
        if _number(equal) == newest:
            return Wanted(equal)
        return Wanted(replace(equal, revision=newest + 1), update=True)
    digest = template_hash(template, collisions)
    meta = template.metadata or meta_v1.ObjectMeta()
    annotations = (owner.metadata.annotations or {}).items()
    made = apps_v1.ControllerRevision(
        revision=newest + 1,
        metadata=meta_v1.ObjectMeta(
            name=f"{owner.metadata.name}-{digest}",
            namespace=owner.metadata.namespace,
            labels={**(meta.labels or {}), label: digest},
            annotations=dict(annotations) or None,
            ownerReferences=[owners.controller_reference(owner)],
        ),
        data=data,
    )
    return Wanted(made, create=True)


async def realize(client: Client, wanted: Wanted) -> apps_v1.ControllerRevision:
    """Write the revision if it is new or becomes the newest.

    Raises:
        AlreadyExists: the name is taken by another template: the collision count must grow.
    """
    if wanted.create:
        try:
            return await client.create(wanted.current)
        except errors.AlreadyExists:
            namespace, name = informer.key_of(wanted.current)
            existing = await client.get(apps_v1.ControllerRevision, name, namespace=namespace)
            if _is_same(existing.data, wanted.current.data):
                return existing
            raise
    if wanted.update:
        return await client.update(wanted.current)
    return wanted.current


def surplus(
    revisions: Sequence[apps_v1.ControllerRevision], live: Collection[str], limit: int | None
) -> list[apps_v1.ControllerRevision]:
    """Return the oldest revisions beyond a limit; those named in `live` are neither counted nor returned."""
    idle = sorted((one for one in revisions if informer.key_of(one)[1] not in live), key=_number)
    return idle[: max(0, len(idle) - (10 if limit is None else limit))]


def newest_first(revisions: Iterable[apps_v1.ControllerRevision]) -> list[apps_v1.ControllerRevision]:
    """Sort revisions."""
    return sorted(revisions, key=_number, reverse=True)


def hash_of(revision: apps_v1.ControllerRevision, label: str = HASH) -> str:
    """Return the hash that a revision carries, which is the end of its name too."""
    labels = (revision.metadata.labels or {}) if revision.metadata else {}
    return labels.get(label) or informer.key_of(revision)[1].rpartition("-")[2]


def _number(revision: apps_v1.ControllerRevision) -> int:
    return revision.revision or 0


def _is_same(left: Any, right: Any) -> bool:
    return bool(_pruned(left) == _pruned(right))


def _pruned(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: kept for key, item in value.items() if (kept := _pruned(item)) not in (None, {}, [])}
    if isinstance(value, list):
        return [_pruned(item) for item in value]
    return value
