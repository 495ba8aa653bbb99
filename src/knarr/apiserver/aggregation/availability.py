"""Whether the servers behind APIServices can be reached: the Available condition, kept true while things change.

`plan` decides what the objects say already; only if they say nothing bad is the server itself asked for its resources.

Source: k8s.io/kube-aggregator/pkg/controllers/status/{local,remote} (v1.37).
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from knarr.api import errors
from knarr.apiserver import keys
from knarr.apiserver.aggregation.identity import identity
from knarr.apiserver.aggregation.registrations import AGGREGATOR, RESOURCE, Registration, available
from knarr.apiserver.parts import Parts
from knarr.apiserver.proxy import services, words
from knarr.apiserver.webhooks import CallFailed
from knarr.kit.backoff import Curve
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request
from knarr.store import backend as backends

Object = dict[str, Any]

RESYNC_S = 30.0
ATTEMPTS = 5
TIMEOUT_S = 5.0
RETRY = Curve(first_s=0.005, limit_s=30.0)
_WRITES = 16
_SERVICE_LABEL = "kubernetes.io/service-name"
LOCAL = ("True", "Local", "Local APIServices are always available")
PASSED = ("True", "Passed", "all checks passed")

Verdict = tuple[str, str, str]
"""Status, reason and message of the condition."""

logger = logging.getLogger(__name__)


def plan(one: Registration, service: Object | None, slices: Iterable[Object]) -> Verdict | None:
    """Return what is known of a registration without asking its server; None if it has to be asked.

    Args:
        one: The registration.
        service: The Service that it names; None if there is none.
        slices: The EndpointSlices of that Service.
    """
    if one.service is None:
        return LOCAL
    namespace, name, port = one.service
    shown = f'service/{name} in "{namespace}"'
    if service is None:
        return "False", "ServiceNotFound", f"{shown} is not present"
    spec = service.get("spec") or {}
    if spec.get("type") not in (None, "ClusterIP"):
        return None
    entry = services.find_port(spec, port)
    if entry is None:
        return "False", "ServicePortError", f"{shown} is not listening on port {port}"
    found = list(slices)
    if not found:
        return "False", "EndpointsNotFound", f"cannot find endpointslices for {shown}"
    port_name = entry.get("name") or ""
    if not any(True for _ in services.addresses(found, port_name)):
        words_ = f'endpointslices for {shown} have no addresses with port name "{port_name}"'
        return "False", "MissingEndpoints", words_
    return None


class Availability:
    """Keeps the conditions.

    Args:
        parts: The server's parts.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._dirty: set[str] = set()
        self._running: set[str] = set()
        self._failures: dict[str, int] = {}
        self._wake = asyncio.Event()
        parts.registrations.on_change(self.mark)
        for resource in ("services", "endpointslices.discovery.k8s.io"):
            prefix = keys.prefix(parts.registry.resource(resource))
            parts.store.subscribe(prefix, self._on_event)

    def mark(self, name: str) -> None:
        """Have an APIService looked at soon."""
        self._dirty.add(name)
        self._wake.set()

    async def run(self) -> None:
        """Look at what is marked, and at every remote one twice a minute, until cancelled."""
        for one in self._parts.registrations.all():
            self.mark(one.name)
        self._running.clear()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._resync())
            while True:
                await self._wake.wait()
                self._wake.clear()
                for name in sorted(self._dirty - self._running):
                    self._dirty.discard(name)
                    self._running.add(name)
                    tasks.create_task(self._look(name, tasks))

    async def _resync(self) -> None:
        while True:
            await self._parts.clock.sleep(RESYNC_S)
            for one in self._parts.registrations.remote():
                self.mark(one.name)

    async def _look(self, name: str, tasks: asyncio.TaskGroup) -> None:
        try:
            is_fine = await self.check(name)
        finally:
            self._running.discard(name)
        if is_fine:
            self._failures.pop(name, None)
        else:
            self._failures[name] = self._failures.get(name, 0) + 1
            tasks.create_task(self._again(name, RETRY.delay_s(self._failures[name])))
        if name in self._dirty:
            self._wake.set()

    async def _again(self, name: str, delay_s: float) -> None:
        await self._parts.clock.sleep(delay_s)
        self.mark(name)

    async def check(self, name: str) -> bool:
        """Find out about one APIService and write it down; return whether nothing need be tried again."""
        one = self._parts.registrations.get(name)
        if one is None:
            self._parts.remote_documents.forget(name)
            return True
        verdict = self._plan(one)
        is_asked = verdict is None
        if verdict is None:
            why = await self._ask(one)
            verdict = ("False", "FailedDiscoveryCheck", why) if why else PASSED
        if one.service is not None:
            await self._parts.remote_documents.refresh(one, is_reachable=verdict is PASSED)
        await self._write(name, verdict)
        return not is_asked or verdict is PASSED

    def _plan(self, one: Registration) -> Verdict | None:
        if one.service is None:
            return LOCAL
        namespace, name, _ = one.service
        registry = self._parts.registry
        service = registry.get("services", namespace, name)
        return plan(one, service, services.slices(registry, namespace, name) if service is not None else ())

    async def _ask(self, one: Registration) -> str:
        """Ask for the resources of a remote registration, several servers at once; return why none answers, or nothing."""
        attempts = [asyncio.create_task(self._attempt(one)) for _ in range(ATTEMPTS)]
        why = ""
        try:
            for attempt in asyncio.as_completed(attempts):
                why = await attempt
                if not why:
                    return ""
        finally:
            for task in attempts:
                task.cancel()
            await asyncio.gather(*attempts, return_exceptions=True)
        return why

    async def _attempt(self, one: Registration) -> str:
        fields = Headers(identity(AGGREGATOR))
        try:
            # Like upstream, whoever owns the network may lie about this.
            client = await self._parts.registrations.client(one, verify=False)
            shown = f"https://{client.address}{one.path}"
            answer = await client.request(
                Request("GET", one.path, "", fields), timeout_s=TIMEOUT_S, max_body_bytes=16 << 20
            )
        except errors.StatusError as err:
            return err.message
        except CallFailed as err:
            return str(err)
        except http_errors.HttpError as err:
            return f'failing or missing response from {shown}: Get "{shown}": {words.of_error(err)}'
        if not 200 <= answer.status < 300:
            return f"failing or missing response from {shown}: bad status from {shown}: {answer.status}"
        return ""

    async def _write(self, name: str, verdict: Verdict) -> None:
        """Write the condition down, unless it says so already."""
        registry = self._parts.registry
        for _ in range(_WRITES):
            obj = registry.get(RESOURCE, "", name)
            if obj is None or not _set(obj, verdict, self._parts.now()):
                return
            logger.info('APIService "%s": available %s: %s', name, verdict[0], verdict[2])
            try:
                await registry.update(RESOURCE, obj)
            except errors.NotFound:
                return
            except errors.Conflict:
                continue
            return

    def _on_event(self, event: backends.Event) -> None:
        remote = self._parts.registrations.remote()
        if not remote:
            return
        entry = event.entry or event.previous
        if entry is None:
            return
        metadata = msgspec.json.decode(entry.value).get("metadata") or {}
        name = metadata.get("labels", {}).get(_SERVICE_LABEL) or metadata.get("name")
        for one in remote:
            if one.service is not None and one.service[:2] == (metadata.get("namespace"), name):
                self.mark(one.name)


def _set(obj: Object, verdict: Verdict, now: str) -> bool:
    """Set the condition of an APIService; return whether it has changed."""
    status, reason, message = verdict
    before: Mapping[str, Any] = available(obj) or {}
    if (before.get("status"), before.get("reason"), before.get("message")) == verdict:
        return False
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    condition = {
        "type": "Available",
        "status": status,
        "lastTransitionTime": since or now,
        "reason": reason,
        "message": message,
    }
    conditions = (obj.setdefault("status", {}) or {}).get("conditions") or []
    others = [one for one in conditions if one.get("type") != "Available"]
    obj["status"] = {**(obj.get("status") or {}), "conditions": [*others, condition]}
    return True
