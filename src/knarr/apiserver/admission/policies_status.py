"""Keeps the status of ValidatingAdmissionPolicies: what is wrong with their expressions, by the types of what they are for.

Source: pkg/controller/validatingadmissionpolicystatus (v1.37).
"""

import asyncio
from typing import Any

from knarr.api import errors
from knarr.api.policies import typechecking
from knarr.apiserver.parts import Parts

Object = dict[str, Any]

RESOURCE = "validatingadmissionpolicies.admissionregistration.k8s.io"


class Status:
    """Follows the policies.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._due = {one["metadata"]["name"] for one in parts.registry.list(RESOURCE) if _is_due(one)}
        self._wake = asyncio.Event()
        parts.registry.subscribe(RESOURCE, self._on_change)

    async def run(self) -> None:
        """Bring the status of policies up to date until cancelled."""
        while True:
            while self._due:
                name = self._due.pop()
                try:
                    await self._update(name)
                except errors.Conflict:
                    self._due.add(name)
                except errors.NotFound:
                    continue
            self._wake.clear()
            await self._wake.wait()

    async def _update(self, name: str) -> None:
        registry = self._parts.registry
        policy = registry.get(RESOURCE, "", name)
        if policy is None or not _is_due(policy):
            return
        generation = policy["metadata"].get("generation") or 0
        warnings = await asyncio.to_thread(typechecking.check, policy["spec"], self._parts.scheme, self._parts.type_of)
        checked: Object = {"expressionWarnings": warnings} if warnings else {}
        status = {**(policy.get("status") or {}), "observedGeneration": generation, "typeChecking": checked}
        await registry.update(RESOURCE, {**policy, "status": status})

    def _on_change(self, _old: Object | None, new: Object | None) -> None:
        if new is not None and _is_due(new):
            self._due.add(new["metadata"]["name"])
            self._wake.set()


def _is_due(policy: Object) -> bool:
    observed: Any = (policy.get("status") or {}).get("observedGeneration")
    return bool(observed != policy["metadata"].get("generation"))
