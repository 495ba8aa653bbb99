"""The scale of anything that has one, custom resources too, found by kind.

Upstream counterpart: k8s.io/client-go/scale and its RESTMapper (v1.37).
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from knarr.api import errors, scheme
from knarr.client import Client
from knarr.kit.clock import Clock

RELOAD_S = 30.0
"""A kind that was not found is looked for again after this long."""


class NoMatch(errors.StatusError):
    """Raised when no resource of a kind is served."""

    code = 404
    reason = "NotFound"

    def __init__(self, group: str, version: str, kind: str) -> None:
        super().__init__(f'no matches for kind "{kind}" in version "{f"{group}/{version}" if group else version}"')


@dataclass(frozen=True, slots=True)
class Scale:
    """How many replicas of something are wanted.

    Attributes:
        path: Where the scale is served.
        replicas: Wanted.
        ready: As the status says; whether ready or not depends on the kind.
        selector: Of its pods.
        body: As the server sent it.
    """

    path: str
    replicas: int
    ready: int
    selector: str
    body: dict[str, Any]


class Scaler:
    """Reads and writes scales.

    Args:
        client: May read and update them.
        clock: Says when to look for a kind again.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._found: dict[tuple[str, str], dict[str, str]] = {}
        self._looked: dict[tuple[str, str], float] = {}

    async def resource(self, api_version: str, kind: str) -> str:
        """Return the plural of a kind.

        Raises:
            NoMatch: nothing of that kind is served.
        """
        known = scheme.BUILT_IN.find_kind(api_version, kind)
        if known is not None:
            return known.plural
        group, _, version = api_version.rpartition("/")
        key = (group, version)
        plural = self._found.get(key, {}).get(kind)
        if plural is None and self._clock.monotonic_s() - self._looked.get(key, float("-inf")) >= RELOAD_S:
            self._looked[key] = self._clock.monotonic_s()
            self._found[key] = await self._discover(group, version)
            plural = self._found[key].get(kind)
        if plural is None:
            raise NoMatch(group, version, kind)
        return plural

    async def read(self, api_version: str, kind: str, namespace: str, name: str) -> Scale:
        """Read a scale.

        Raises:
            StatusError: there is none.
        """
        plural = await self.resource(api_version, kind)
        root = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
        path = f"{root}/namespaces/{namespace}/{plural}/{name}/scale"
        response = await self._client.raw("GET", path)
        return _decode(path, response.body)

    async def write(self, scale: Scale, replicas: int) -> None:
        """Set how many replicas are wanted."""
        body = {**scale.body, "spec": {**(scale.body.get("spec") or {}), "replicas": replicas}}
        await self._client.raw("PUT", scale.path, body=msgspec.json.encode(body))

    async def _discover(self, group: str, version: str) -> dict[str, str]:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            response = await self._client.raw("GET", path)
        except errors.StatusError as err:
            if err.code == 404:
                return {}
            raise
        answer = msgspec.json.decode(response.body if isinstance(response.body, bytes) else b"{}")
        return {one["kind"]: one["name"] for one in answer.get("resources") or () if "/" not in one["name"]}


def _decode(path: str, body: object) -> Scale:
    decoded = msgspec.json.decode(body if isinstance(body, bytes) else b"{}")
    spec, status = decoded.get("spec") or {}, decoded.get("status") or {}
    return Scale(path, spec.get("replicas") or 0, status.get("replicas") or 0, status.get("selector") or "", decoded)
