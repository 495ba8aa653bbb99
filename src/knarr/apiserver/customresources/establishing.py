"""What becomes of a stored definition: names are accepted, it is established, and in the end its objects are deleted with it.

`plan_status` decides; `Establisher` follows the definitions and acts. Every API server of a cluster may do so at once: what it
writes depends on what is stored alone.

Source: pkg/controller/{status/naming_controller,establish,finalizer,apiapproval}.go of k8s.io/apiextensions-apiserver (v1.37).
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from knarr.api import apiapproval, errors
from knarr.apiserver.customresources.definitions import condition, is_true
from knarr.apiserver.parts import Parts, Target

Object = dict[str, Any]

CRDS = "customresourcedefinitions.apiextensions.k8s.io"
FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
_ATTEMPTS = 16


def plan_status(crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]], now: str) -> Object:
    """Return the status that a definition is to have.

    Args:
        crd: The definition.
        others: All definitions of its group.
        now: The time, for conditions that change.
    """
    status = dict(crd.get("status") or {})
    wanted, before = crd["spec"]["names"], status.get("acceptedNames") or {}
    accepted, why, message = _accept(wanted, before, _taken(crd, others))
    status["acceptedNames"] = {"plural": "", "kind": "", **accepted}
    status = _with(status, "NamesAccepted", why == "NoConflicts", why, message, now)
    if is_true({"status": status}, "Established"):
        pass
    elif why == "NoConflicts":
        words = "the initial names have been accepted"
        status = _with(status, "Established", True, "InitialNamesAccepted", words, now)
    else:
        status = _with(status, "Established", False, "NotAccepted", "not all names are accepted", now)
    if apiapproval.is_protected(crd["spec"]["group"]):
        reason, words = apiapproval.state(crd)
        status = _with(status, apiapproval.CONDITION, reason == apiapproval.APPROVED, reason, words, now)
    status["storedVersions"] = stored_versions(crd)
    return status


def stored_versions(crd: Mapping[str, Any]) -> list[str]:
    """Return the versions in which objects may be stored: those known so far, and the one that is stored now."""
    listed = list((crd.get("status") or {}).get("storedVersions") or ())
    storage = next(
        (one.get("name") or "" for one in (crd.get("spec") or {}).get("versions") or () if one.get("storage")), ""
    )
    return listed if storage in listed or not storage else [*listed, storage]


def _taken(crd: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> tuple[set[str], set[str]]:
    """Return the resource names and the kinds that others of the group have."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for one in others:
        if one["metadata"]["name"] == crd["metadata"]["name"] or one["spec"]["group"] != crd["spec"]["group"]:
            continue
        names = (one.get("status") or {}).get("acceptedNames") or {}
        resources |= {names.get("plural") or "", names.get("singular") or "", *(names.get("shortNames") or ())}
        kinds |= {names.get("kind") or "", names.get("listKind") or ""}
    return resources - {""}, kinds - {""}


def _accept(
    wanted: Mapping[str, Any], before: Mapping[str, Any], taken: tuple[set[str], set[str]]
) -> tuple[Object, str, str]:
    """Return the accepted names, and the reason and message of the condition."""
    resources, kinds = taken
    accepted = dict(before)
    why, message = "NoConflicts", "no conflicts found"
    for name, used, reason in (
        ("plural", resources, "PluralConflict"),
        ("singular", resources, "SingularConflict"),
        ("shortNames", resources, "ShortNamesConflict"),
        ("kind", kinds, "KindConflict"),
        ("listKind", kinds, "ListKindConflict"),
    ):
        value = wanted.get(name)
        listed = value if isinstance(value, list) else [value] if value else []
        clashes = [one for one in listed if one in used]
        if clashes:
            why, message = reason, ", ".join(f'"{one}" is already in use' for one in clashes)
        elif value:
            accepted[name] = value
        else:
            accepted.pop(name, None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    else:
        accepted.pop("categories", None)
    return accepted, why, message


def _with(status: Object, type: str, holds: bool, reason: str, message: str, now: str) -> Object:
    """Return a status with a condition; the time changes only with the condition's status."""
    value = "True" if holds else "False"
    before = condition({"status": status}, type)
    is_same = before is not None and before.get("status") == value
    since = (before or {}).get("lastTransitionTime") if is_same else now
    new = {"lastTransitionTime": since, "message": message, "reason": reason, "status": value, "type": type}
    if before == new:
        return status
    conditions = list(status.get("conditions") or ())
    if before is None:
        conditions.append(new)
    else:
        conditions[conditions.index(before)] = new
    return {**status, "conditions": conditions}


def mark_deleted(crd: Object, now: str) -> None:
    """Prepare a definition for its deletion: its objects go first."""
    finalizers = crd["metadata"].setdefault("finalizers", [])
    if FINALIZER not in finalizers:
        finalizers.append(FINALIZER)
    words = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    crd["status"] = _with(crd.get("status") or {}, "Terminating", True, "InstanceDeletionPending", words, now)


class Establisher:
    """Follows the definitions and brings each to where it is to be.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._waiting: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._looked_at: dict[str, Callable[[], None]] = {}

    def follow(self, old: Object | None, new: Object | None) -> None:
        """Note a change of a definition."""
        if new is not None:
            self._add(new["metadata"]["name"])
        if old is not None and (new is None or old["spec"].get("names") != new["spec"].get("names")):
            for crd in self._parts.registry.list(CRDS):  # a name that was taken may be free now
                if not is_true(crd, "NamesAccepted"):
                    self._add(crd["metadata"]["name"])

    async def run(self) -> None:
        """Work until cancelled."""
        for crd in self._parts.registry.list(CRDS):
            self._add(crd["metadata"]["name"])
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                name = next(iter(self._waiting))
                del self._waiting[name]
                await self._reconcile(name)

    def _add(self, name: str) -> None:
        self._waiting[name] = None
        self._wake.set()

    async def _reconcile(self, name: str) -> None:
        for _ in range(_ATTEMPTS):
            crd = self._parts.registry.get(CRDS, "", name)
            if crd is None:
                return
            try:
                if crd["metadata"].get("deletionTimestamp"):
                    await self._clean_up(crd)
                else:
                    await self._establish(crd)
            except (errors.Conflict, errors.NotFound):
                continue
            return

    async def _establish(self, crd: Object) -> None:
        others = self._parts.registry.list(CRDS)
        status = plan_status(crd, others, self._parts.now())
        if status != crd.get("status"):
            await self._parts.registry.update(CRDS, {**crd, "status": status})

    async def _clean_up(self, crd: Object) -> None:
        """Delete the objects of a definition, then let it go."""
        finalizers = list(crd["metadata"].get("finalizers") or ())
        if FINALIZER not in finalizers:
            return
        unsubscribe = self._looked_at.pop(crd["metadata"]["name"], None)
        if unsubscribe is not None:
            unsubscribe()
        if is_true(crd, "Established"):
            left = await self._delete_objects(crd)
            if left:
                self._look_at_objects(crd["metadata"]["name"])
                now, words = self._parts.now(), "CustomResource deletion is in progress"
                status = _with(crd.get("status") or {}, "Terminating", True, "InstanceDeletionInProgress", words, now)
                if status != crd.get("status"):
                    await self._parts.registry.update(CRDS, {**crd, "status": status})
                return
        finalizers.remove(FINALIZER)
        metadata = {**crd["metadata"], "finalizers": finalizers}
        if finalizers:
            now, words = self._parts.now(), "removed all instances"
            status = _with(crd.get("status") or {}, "Terminating", False, "InstanceDeletionCompleted", words, now)
            await self._parts.registry.update(CRDS, {**crd, "metadata": metadata, "status": status})
        else:
            await self._parts.registry.delete(CRDS, "", crd["metadata"]["name"])

    def _look_at_objects(self, name: str) -> None:
        """Come back to a definition whenever one of its objects goes."""
        definition = self._parts.custom.definition(name)
        if definition is None:
            return

        def follow(old: Object | None, new: Object | None) -> None:
            if new is None:
                self._add(name)

        resource = definition.versions[definition.storage].resource
        self._looked_at[name] = self._parts.registry.subscribe(resource, follow)

    async def _delete_objects(self, crd: Object) -> int:
        """Delete all objects of a kind; return how many are left, held by finalizers of their own."""
        definition = self._parts.custom.definition(crd["metadata"]["name"])
        if definition is None:
            return 0
        resource = definition.versions[definition.storage].resource
        left = 0
        for obj in self._parts.registry.list(resource):
            metadata = obj["metadata"]
            target = Target(resource, resource, "", metadata.get("namespace") or "", metadata["name"])
            if not metadata.get("finalizers"):
                await self._parts.registry.delete(resource, target.namespace, target.name)
                continue
            left += 1
            if not metadata.get("deletionTimestamp"):
                await self._mark(obj, target)
        return left

    async def _mark(self, obj: Object, target: Target) -> None:
        metadata = {**obj["metadata"], "deletionTimestamp": self._parts.now(), "deletionGracePeriodSeconds": 0}
        try:
            await self._parts.registry.update(target.resource, {**obj, "metadata": metadata})
        except (errors.Conflict, errors.NotFound):
            return
