"""An APIService for every group and version that this server serves itself, built in or defined by users.

Built-in ones are put right once, when the server starts; those of custom resources always: they come and go with the definitions.
An APIService that somebody made by hand, which lacks the label, is left alone.

Source: k8s.io/kube-aggregator/pkg/controllers/autoregister, pkg/controlplane/controller/crdregistration,
pkg/controlplane/apiserver/aggregator.go (v1.37).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from knarr.api import errors
from knarr.api.scheme import BUILT_IN, PRIORITIES, Scheme
from knarr.apiserver.aggregation.availability import LOCAL
from knarr.apiserver.aggregation.registrations import RESOURCE
from knarr.apiserver.customresources.establishing import CRDS
from knarr.apiserver.metadata import new_uid
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

LABEL = "kube-aggregator.kubernetes.io/automanaged"
ON_START, ALWAYS = "onstart", "true"
OTHER_PRIORITY = (1000, 15)
CUSTOM_PRIORITY = (1000, 100)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Action:
    """What to do to an APIService: "create", "update" or "delete"."""

    verb: str
    name: str
    obj: Object | None = None


def wanted(scheme: Scheme) -> dict[str, Object]:
    """Return the APIServices of what a scheme serves, by name, without metadata other than name and labels."""
    found = {}
    for group, versions in scheme.groups().items():
        for version in versions:
            is_custom = not BUILT_IN.resources(group, version)
            low = CUSTOM_PRIORITY if is_custom else PRIORITIES.get((group, version), OTHER_PRIORITY)
            spec: Object = {"version": version, "groupPriorityMinimum": low[0], "versionPriority": low[1]}
            if group:
                spec["group"] = group
            name = f"{version}.{group}"
            found[name] = {
                "metadata": {"name": name, "labels": {LABEL: ALWAYS if is_custom else ON_START}},
                "spec": spec,
            }
    return found


def plan(desired: Mapping[str, Object], current: Iterable[Object], *, is_start: bool) -> list[Action]:
    """Return what brings the APIServices in line.

    Args:
        desired: As `wanted` makes them.
        current: All that there are.
        is_start: Whether the built-in ones are looked at, too.
    """
    actions = []
    there = {obj["metadata"]["name"]: obj for obj in current}
    for name, obj in desired.items():
        mode = obj["metadata"]["labels"][LABEL]
        if mode == ON_START and not is_start:
            continue
        found = there.get(name)
        if found is None:
            actions.append(Action("create", name, obj))
        elif _mode(found) in (ON_START, ALWAYS) and found.get("spec") != obj["spec"]:
            actions.append(Action("update", name, {**found, "spec": obj["spec"]}))
    for name, found in there.items():
        mode = _mode(found)
        if name not in desired and (mode == ALWAYS or (mode == ON_START and is_start)):
            actions.append(Action("delete", name))
    return actions


class Autoregister:
    """Keeps the APIServices.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._wake = asyncio.Event()
        parts.registry.subscribe(CRDS, self._on_change)
        parts.registrations.on_change(lambda _: self._wake.set())

    async def start(self) -> None:
        """Put all right once, the built-in ones too."""
        await self._sync(is_start=True)

    async def run(self) -> None:
        """Follow the definitions of custom resources until cancelled."""
        while True:
            self._wake.clear()
            await self._sync(is_start=False)
            await self._wake.wait()

    async def _sync(self, *, is_start: bool) -> None:
        registry = self._parts.registry
        for action in plan(wanted(self._parts.scheme), registry.list(RESOURCE), is_start=is_start):
            try:
                await self._act(action)
            except (errors.AlreadyExists, errors.Conflict, errors.NotFound) as err:
                logger.debug("APIService %s: %s", action.name, err.message)
                self._wake.set()

    async def _act(self, action: Action) -> None:
        registry = self._parts.registry
        if action.verb == "delete":
            await registry.delete(RESOURCE, "", action.name)
        elif action.verb == "update":
            assert action.obj is not None
            await registry.update(RESOURCE, action.obj)
        else:
            assert action.obj is not None
            await registry.create(RESOURCE, self._complete(action.obj))

    def _complete(self, obj: Object) -> Object:
        status, reason, message = LOCAL
        now = self._parts.now()
        condition = {
            "type": "Available",
            "status": status,
            "lastTransitionTime": now,
            "reason": reason,
            "message": message,
        }
        metadata = {**obj["metadata"], "uid": new_uid(self._parts.random), "creationTimestamp": now}
        kind = self._parts.registry.resource(RESOURCE)
        return {
            "kind": kind.kind,
            "apiVersion": kind.api_version,
            "metadata": metadata,
            "spec": obj["spec"],
            "status": {"conditions": [condition]},
        }

    def _on_change(self, _old: Object | None, _new: Object | None) -> None:
        self._wake.set()


def _mode(obj: Object) -> str:
    return str(((obj["metadata"].get("labels") or {}).get(LABEL)) or "")
