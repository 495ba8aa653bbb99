"""Discovery documents of everybody together: this server's own and those of remote ones, in the order of their priorities.

Source: k8s.io/kube-aggregator/pkg/apiserver/handler_apis.go; k8s.io/apiserver/pkg/endpoints/discovery/aggregated (v1.37).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import msgspec

from knarr.api.scheme import Scheme
from knarr.apiserver import discovery
from knarr.apiserver.aggregation.documents import Known
from knarr.apiserver.aggregation.registrations import Registration

Object = dict[str, Any]


class Documents(discovery.Documents):
    """The discovery documents of a scheme and of remote registrations, each encoded once.

    Args:
        scheme: What this server serves.
        address: Its address for clients.
        registrations: All of them, in order.
        known: Gives what is known of a remote one.
    """

    def __init__(
        self,
        scheme: Scheme,
        address: str,
        registrations: Sequence[Registration],
        known: Callable[[Registration], Known],
    ) -> None:
        super().__init__(scheme, address)
        self._registrations = registrations
        self._known = known
        self._merged: dict[str, tuple[bytes, str]] = {}

    @cached_property
    def groups(self) -> bytes:
        """GET /apis."""
        local = discovery.group_list(self._scheme)
        return _encode({**local, "groups": merge_groups(local["groups"], self._registrations)})

    def group(self, name: str) -> bytes | None:
        """Return GET /apis/<name>, None if there is no such group."""
        for one in merge_groups(discovery.group_list(self._scheme)["groups"], self._registrations):
            if one["name"] == name:
                return _encode({**one, "kind": "APIGroup", "apiVersion": "v1"})
        return None

    def aggregated(self, *, is_core: bool, version: str = "v2") -> tuple[bytes, str]:
        """Return the aggregated document of /api (`is_core`) or /apis, and its ETag."""
        if is_core:
            return super().aggregated(is_core=True, version=version)
        if version not in self._merged:
            local = discovery.aggregated(self._scheme, is_core=False, version=version)
            remote = {one: self._known(one) for one in self._registrations if one.service is not None and one.group}
            body = _encode({**local, "items": merge_aggregated(local["items"], self._registrations, remote)})
            self._merged[version] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        return self._merged[version]


def merge_groups(local: Sequence[Object], registrations: Sequence[Registration]) -> list[Object]:
    """Return the APIGroups of this server and of remote registrations.

    Args:
        local: The APIGroups of this server.
        registrations: All, in order.
    """
    served = {(group["name"], one["version"]) for group in local for one in group["versions"]}
    versions: dict[str, list[str]] = {}
    for one in registrations:
        if one.group and (one.service is not None or (one.group, one.version) in served):
            versions.setdefault(one.group, []).append(one.version)
    for group in local:  # what has no APIService at the moment is served all the same
        known = versions.setdefault(group["name"], [])
        known += [one["version"] for one in group["versions"] if one["version"] not in known]
    found = []
    for name, listed in versions.items():
        entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in listed]
        found.append({"name": name, "versions": entries, "preferredVersion": entries[0]})
    return found


def merge_aggregated(
    local: Sequence[Object], registrations: Sequence[Registration], remote: Mapping[Registration, Known]
) -> list[Object]:
    """Return the APIGroupDiscoveries of this server and of remote registrations; what could not be fetched is marked stale.

    Args:
        local: The APIGroupDiscoveries of this server.
        registrations: All, in order.
        remote: What is known of the remote ones.
    """
    found: dict[tuple[str, str], Object] = {
        (group["metadata"].get("name") or "", version["version"]): version
        for group in local
        for version in group["versions"]
    }
    for one, known in remote.items():
        freshness = "Stale" if known.is_stale else "Current"
        found[one.group, one.version] = {**known.version, "version": one.version, "freshness": freshness}
    groups: dict[str, list[Object]] = {}
    for one in registrations:
        version = found.pop((one.group, one.version), None)
        if version is not None and one.group:
            groups.setdefault(one.group, []).append(version)
    for (name, _), version in found.items():
        groups.setdefault(name, []).append(version)
    return [
        {"metadata": {"name": name, "creationTimestamp": None}, "versions": versions}
        for name, versions in groups.items()
    ]


def _encode(obj: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(obj) + b"\n"
