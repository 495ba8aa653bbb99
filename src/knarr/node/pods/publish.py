"""Writing a pod's status to the API: only when it changed, only what changed, the newest wish alone, until it is there.

Counterpart: pkg/kubelet/status/status_manager.go (v1.37).
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import msgspec
from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client, DeleteOptions, PatchType
from knarr.kit.backoff import Curve
from knarr.kit.clock import Clock
from knarr.node.pods import spec as specs

RETRY = Curve(first_s=0.2, limit_s=10.0)
_KEYED_BY_IP = ("podIPs", "hostIPs")
_OURS = (
    "observedGeneration", "phase", "conditions", "reason", "message", "hostIP", "hostIPs", "podIP", "podIPs", "startTime",
    "initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses", "qosClass",
)  # fmt: skip

logger = logging.getLogger(__name__)


class Publisher:
    """Writes one pod's status.

    Args:
        client: The API, as the node.
        clock: Times retries.
        pod: The pod as the API has it.
    """

    def __init__(self, client: Client, clock: Clock, pod: core_v1.Pod) -> None:
        self._client = client
        self._clock = clock
        self._pod = pod
        self._known: dict[str, Any] = {}
        self._revision = -1
        self._wanted: core_v1.PodStatus | None = None
        self._final = False
        self._task: asyncio.Task[None] | None = None
        self.observe(pod)

    def observe(self, pod: core_v1.Pod) -> None:
        """Take in the pod as the API has it; what is older than our own last write is passed over."""
        revision = _revision_of(pod)
        if revision >= self._revision:
            self._revision = revision
            self._known = _plain(pod.status)
            self._pod = pod

    def publish(self, status: core_v1.PodStatus, *, final: bool) -> None:
        """Have the API show `status` soon; after a final one, have it forget the pod.

        Args:
            status: The whole status; what others wrote beside it is kept.
            final: Nothing of the pod is left here, and it is being deleted.
        """
        self._wanted = status
        self._final = final
        if (self._task is None or self._task.done()) and (final or diff(self._known, _plain(status))):
            self._task = asyncio.create_task(self._run(), name=f"status {specs.format_pod(self._pod)}")

    async def wait_written(self) -> None:
        """Wait until what is wanted is there."""
        if self._task is not None:
            await asyncio.wait([self._task])

    def stop(self) -> None:
        """Write nothing more: the pod is gone."""
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                await self._write()
                if not self._final:
                    return
                await self._delete()
            except (errors.NotFound, errors.Conflict) as err:
                logger.debug("status of %s: %s", specs.format_pod(self._pod), err)  # gone, or another of the same name
                return
            except errors.StatusError as err:
                failures += 1
                level = logging.WARNING if failures == 5 or err.code in (400, 403, 422) else logging.DEBUG
                logger.log(level, "status of %s: %s", specs.format_pod(self._pod), err)
                await self._clock.sleep(RETRY.delay_s(failures))
            else:
                return

    async def _write(self) -> None:
        while self._wanted is not None and (changes := diff(self._known, _plain(self._wanted))):
            pod = self._pod
            body = {"metadata": {"uid": specs.uid_of(pod)}, "status": changes}
            written = await self._client.patch(
                core_v1.Pod,
                specs.name_of(pod),
                body,
                PatchType.STRATEGIC,
                namespace=specs.namespace_of(pod),
                subresource="status",
            )
            self._revision = _revision_of(written)
            after = _plain(written.status)
            if diff(after, _plain(self._wanted)) == changes:
                return  # the server did not take it: again only when something new is wanted
            self._known = after

    async def _delete(self) -> None:
        pod = self._pod
        options = DeleteOptions(grace_s=0, uid=specs.uid_of(pod))
        await self._client.delete(core_v1.Pod, specs.name_of(pod), namespace=specs.namespace_of(pod), options=options)


def diff(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the strategic merge patch that makes a status say what is new of ours, leaving what others wrote.

    Args:
        old: The status as the API has it.
        new: The status as it should be, complete as far as it is ours.
    """
    patch: dict[str, Any] = {}
    for name in _OURS:
        if _significant(old.get(name)) == _significant(new.get(name)):
            continue
        if name == "conditions":
            before = {condition["type"]: condition for condition in old.get(name) or []}
            changed = [_merged(before.get(c["type"]), c) for c in new.get(name) or []]
            changed = [c for c in changed if c is not None]
            if changed:
                patch[name] = changed
        elif name in _KEYED_BY_IP and old.get(name) and new.get(name):
            patch[name] = [{"$patch": "replace"}, *new[name]]
        else:
            patch[name] = new.get(name)
    return patch


def _significant(value: Any) -> Any:
    # Go writes some empty structs and leaves others out: they say the same.
    if isinstance(value, dict):
        found = {key: _significant(item) for key, item in value.items()}
        return {key: item for key, item in found.items() if item not in (None, {}, [], "")}
    if isinstance(value, list):
        return [_significant(item) for item in value] or None
    return value


def _merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what to write of one condition: nothing if it is there, nulls for what it no longer says."""
    if old is None:
        return dict(new)
    if all(old.get(key) == new.get(key) for key in {*old, *new} if key != "lastProbeTime"):
        return None
    return {**{key: None for key in old if key not in new and key != "lastProbeTime"}, **new}


def _plain(status: core_v1.PodStatus | None) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(status) if status is not None else {}
    return found


def _revision_of(pod: core_v1.Pod) -> int:
    text = pod.metadata.resourceVersion if pod.metadata is not None else None
    return int(text) if text and text.isdigit() else 0
