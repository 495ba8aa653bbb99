"""What a server serves: every resource of every group, asked of it.

Aggregated discovery answers in two requests; servers that do not have it are asked group by group.

Source: k8s.io/client-go/discovery (aggregated_discovery.go, discovery_client.go; v1.37).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from knarr.api import errors
from knarr.api.scheme import Resource
from knarr.client.client import Client
from knarr.client.errors import BadAnswer


async def resources(client: Client) -> list[Resource]:
    """Return the resources of a server, each in its group's preferred version.

    Groups that an extension server should answer for and does not are left out.

    Raises:
        StatusError: the server does not say.
    """
    found: dict[str, Resource] = {}
    for group, version in await _versions(client):
        try:
            listed = await _get(client, _path(group, version))
        except errors.StatusError as err:
            if group and "." in group and err.code in (404, 503):
                continue  # an extension server that is away must not hide the rest
            raise
        for resource in _of_list(group, version, listed.get("resources") or ()):
            found.setdefault(resource.qualified, resource)
    return [*found.values()]


async def _versions(client: Client) -> list[tuple[str, str]]:
    core = await _get(client, "/api")
    groups = await _get(client, "/apis")
    pairs = [("", version) for version in core.get("versions") or ()]
    for group in groups.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("version") or ""
        versions = [one["version"] for one in group.get("versions") or ()]
        versions.sort(
            key=lambda version: version != preferred
        )  # the preferred one first, the rest in the server's order
        pairs += [(group["name"], version) for version in versions]
    return pairs


def _of_list(group: str, version: str, listed: Iterable[dict[str, Any]]) -> Iterator[Resource]:
    entries = [*listed]
    for entry in entries:
        name = entry["name"]
        if "/" in name:
            continue
        yield Resource(
            group=entry.get("group") or group,
            version=entry.get("version") or version,
            kind=entry["kind"],
            plural=name,
            singular=entry.get("singularName") or entry["kind"].lower(),
            namespaced=bool(entry.get("namespaced")),
            verbs=tuple(entry.get("verbs") or ()),
            short_names=tuple(entry.get("shortNames") or ()),
            categories=tuple(entry.get("categories") or ()),
        )


async def _get(client: Client, path: str) -> dict[str, Any]:
    response = await client.raw("GET", path)
    try:
        decoded = msgspec.json.decode(response.body) if isinstance(response.body, bytes) else None
    except msgspec.DecodeError as err:
        raise BadAnswer(f"{path}: {err}") from err
    if not isinstance(decoded, dict):
        raise BadAnswer(f"{path}: expected an object")
    return decoded


def _path(group: str, version: str) -> str:
    return f"/apis/{group}/{version}" if group else f"/api/{version}"
