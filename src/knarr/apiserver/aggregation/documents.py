"""What remote servers say about what they serve: fetched when they become reachable and every minute, kept while they are not.

Source: k8s.io/kube-aggregator/pkg/apiserver/handler_discovery.go; ConvertGroupVersionIntoToDiscovery in
k8s.io/apiserver/pkg/endpoints/groupversion.go (v1.37).
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from knarr.api import errors
from knarr.apiserver import discovery
from knarr.apiserver.aggregation.identity import identity
from knarr.apiserver.aggregation.registrations import AGGREGATOR, Registration, Registrations
from knarr.apiserver.webhooks import CallFailed
from knarr.kit.clock import Clock
from knarr.kit.http import errors as http_errors
from knarr.kit.http.messages import Headers, Request, Response

Object = dict[str, Any]

REFRESH_S = 60.0
TIMEOUT_S = 5.0
MAX_BYTES = 32 << 20

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a remote registration.

    Attributes:
        version: Its APIVersionDiscovery.
        openapi: Where its OpenAPI v3 document is, with its hash; empty if it has none.
        is_stale: Whether it could not be fetched the last time.
        fetched_s: When it was, on the monotonic clock.
    """

    version: Object = field(default_factory=dict)
    openapi: str = ""
    is_stale: bool = True
    fetched_s: float = float("-inf")


class RemoteDocuments:
    """Documents of remote registrations by name.

    Args:
        registrations: Has clients of the servers.
        clock: Tells when to fetch again.
    """

    def __init__(self, registrations: Registrations, clock: Clock) -> None:
        self._registrations = registrations
        self._clock = clock
        self._known: dict[str, tuple[Registration, Known]] = {}

    def get(self, one: Registration) -> Known:
        """Return what is known of a registration."""
        found = self._known.get(one.name)
        return found[1] if found is not None else Known({"version": one.version})

    def forget(self, name: str) -> None:
        """Drop what is known of a registration that is gone."""
        if self._known.pop(name, None) is not None:
            self._registrations.note_change()

    async def refresh(self, one: Registration, *, is_reachable: bool) -> None:
        """Fetch the documents of a registration, unless they are young.

        Args:
            one: A remote one.
            is_reachable: Whether its server answers; otherwise what is known becomes stale.
        """
        place = replace(one, is_available=False)
        before = self.get(one)
        known_place = self._known.get(one.name, (None, None))[0]
        now = self._clock.monotonic_s()
        if is_reachable and not before.is_stale and known_place == place and now - before.fetched_s < REFRESH_S:
            return
        found: Object | None = await self._fetch(one) if is_reachable else None
        if found is None:
            after = replace(before, version=before.version or {"version": one.version}, is_stale=True)
        else:
            after = Known(found, await self._fetch_openapi(one), is_stale=False, fetched_s=now)
        self._known[one.name] = place, after
        if (after.version, after.openapi, after.is_stale) != (before.version, before.openapi, before.is_stale):
            self._registrations.note_change()

    async def fetch(
        self, one: Registration, path: str, query: str = "", accept: str = "application/json"
    ) -> Response | None:
        """Ask a remote server for a document as the aggregator; None if it cannot be reached."""
        fields = Headers([*identity(AGGREGATOR), ("accept", accept)])
        try:
            client = await self._registrations.client(one)
            return await client.request(
                Request("GET", path, query, fields), timeout_s=TIMEOUT_S, max_body_bytes=MAX_BYTES
            )
        except (errors.StatusError, CallFailed, http_errors.HttpError) as err:
            logger.debug("%s of %s: %s", path, one.name, err)
            return None

    async def _fetch(self, one: Registration) -> Object | None:
        answer = await self.fetch(one, "/apis", accept=f"{discovery.AGGREGATED}, {discovery.AGGREGATED_BETA}")
        document = _decode(answer)
        if document is not None and document.get("kind") == "APIGroupDiscoveryList":
            found = _find(document, one)
            if found is not None:
                return found
        document = _decode(await self.fetch(one, one.path))
        if document is None:
            return None
        return {"version": one.version, "resources": convert(one, document.get("resources") or ())}

    async def _fetch_openapi(self, one: Registration) -> str:
        index = _decode(await self.fetch(one, "/openapi/v3")) or {}
        entry = (index.get("paths") or {}).get(one.path.lstrip("/")) or {}
        return str(entry.get("serverRelativeURL") or "")


def convert(one: Registration, resources: Iterable[Mapping[str, Any]]) -> list[Object]:
    """Return the entries of an APIResourceList as those of aggregated discovery."""
    found: dict[str, Object] = {}
    for entry in resources:
        name, _, sub = str(entry.get("name") or "").partition("/")
        kind = {
            "group": entry.get("group") or one.group,
            "version": entry.get("version") or one.version,
            "kind": entry.get("kind") or "",
        }
        scope = "Namespaced" if entry.get("namespaced") else "Cluster"
        verbs = list(entry.get("verbs") or ())
        parent = found.setdefault(name, {"resource": name, "scope": scope, "singularResource": "", "verbs": []})
        if sub:
            parent.setdefault("subresources", []).append({"subresource": sub, "responseKind": kind, "verbs": verbs})
            continue
        parent |= {"scope": scope, "singularResource": entry.get("singularName") or "", "verbs": verbs}
        parent["responseKind"] = kind
        for key in ("shortNames", "categories"):
            if entry.get(key):
                parent[key] = list(entry[key])
    return list(found.values())


def _decode(answer: Response | None) -> Object | None:
    if answer is None or answer.status != 200 or not isinstance(answer.body, bytes):
        return None
    try:
        document = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _find(document: Object, one: Registration) -> Object | None:
    for group in document.get("items") or ():
        if (group.get("metadata") or {}).get("name") == one.group:
            for version in group.get("versions") or ():
                if version.get("version") == one.version:
                    found: Object = version
                    return found
    return None
