"""What the server serves, told to clients: groups, versions, resources; one document each, or all in one.

Every function takes a scheme and returns a document; `Documents` keeps them encoded, with the ETag of the aggregated one.

Source: k8s.io/apiserver/pkg/endpoints/discovery (legacy and aggregated); APIGroupDiscovery in api/apidiscovery/v2 (v1.37).
"""

import base64
import hashlib
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import msgspec

from knarr.api.scheme import Resource, Scheme, Subresource

Object = dict[str, Any]

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
AGGREGATED_BETA = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
_HASH_BYTES = 8


def aggregated_version(accept: str) -> str:
    """Return which version of aggregated discovery a client takes first: "v2", "v2beta1", or "" for the old documents.

    Args:
        accept: The Accept header.
    """
    for clause in accept.split(","):
        words = {part.strip() for part in clause.split(";")}
        if {"application/json", "g=apidiscovery.k8s.io", "as=APIGroupDiscoveryList"} <= words:
            for version in ("v2", "v2beta1"):
                if f"v={version}" in words:
                    return version
        elif words & {"application/json", "*/*"} and not any(word.startswith("as=") for word in words):
            return ""
    return ""


class Documents:
    """The discovery documents of one scheme, each encoded once.

    Args:
        scheme: What is served.
        address: The server's address for clients, "host:port", as in serverAddressByClientCIDRs.
    """

    def __init__(self, scheme: Scheme, address: str) -> None:
        self._scheme = scheme
        self._address = address
        self._versions: dict[tuple[str, str], bytes | None] = {}
        self._aggregated: dict[tuple[bool, str], tuple[bytes, str]] = {}

    @cached_property
    def api(self) -> bytes:
        """GET /api."""
        return _encode(api_versions(self._scheme, self._address))

    @cached_property
    def groups(self) -> bytes:
        """GET /apis."""
        return _encode(group_list(self._scheme))

    def group(self, name: str) -> bytes | None:
        """Return GET /apis/<name>, None if there is no such group."""
        found = group(self._scheme, name)
        return None if found is None else _encode({**found, "kind": "APIGroup", "apiVersion": "v1"})

    def resources(self, group: str, version: str) -> bytes | None:
        """Return GET /api/<version> or /apis/<group>/<version>, None if there is none."""
        key = (group, version)
        if key not in self._versions:
            found = resource_list(self._scheme, group, version)
            self._versions[key] = None if found is None else _encode(found)
        return self._versions[key]

    def aggregated(self, *, is_core: bool, version: str = "v2") -> tuple[bytes, str]:
        """Return the aggregated document of /api (`is_core`) or /apis, and its ETag."""
        key = (is_core, version)
        if key not in self._aggregated:
            body = _encode(aggregated(self._scheme, is_core=is_core, version=version))
            self._aggregated[key] = body, f'"{hashlib.sha512(body).hexdigest().upper()}"'
        return self._aggregated[key]


def _encode(obj: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(obj) + b"\n"


def api_versions(scheme: Scheme, address: str) -> Object:
    """Return the APIVersions of the core group."""
    return {
        "kind": "APIVersions",
        "versions": list(scheme.groups().get("", [])),
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def group_list(scheme: Scheme) -> Object:
    """Return the APIGroupList of all named groups."""
    found = [group(scheme, name) for name in scheme.groups() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": found}


def group(scheme: Scheme, name: str) -> Object | None:
    """Return an APIGroup, None if it is not served."""
    versions = scheme.groups().get(name)
    if not versions or not name:
        return None
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def resource_list(scheme: Scheme, group: str, version: str) -> Object | None:
    """Return the APIResourceList of one version, None if it is not served."""
    found = scheme.resources(group, version)
    if not found:
        return None
    entries: list[Object] = []
    for resource in sorted(found, key=lambda one: one.plural):
        entries.append(_entry(scheme, resource))
        entries += [_sub_entry(resource, sub) for sub in sorted(resource.subresources, key=lambda one: one.name)]
    head: Object = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": found[0].api_version, "resources": entries}


def _entry(scheme: Scheme, resource: Resource) -> Object:
    entry: Object = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.is_stored:
        entry["storageVersionHash"] = storage_version_hash(scheme.stored(resource))
    return entry


def _sub_entry(resource: Resource, sub: Subresource) -> Object:
    entry: Object = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if (sub.group, sub.version) != (resource.group, resource.version):
        entry |= {"group": sub.group, "version": sub.version} if sub.group else {"version": sub.version}
    return {**entry, "kind": sub.kind, "verbs": list(sub.verbs)}


def storage_version_hash(resource: Resource) -> str:
    """Return a short name of the version in which a kind is stored."""
    text = f"{resource.group}/{resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:_HASH_BYTES]).decode()


def aggregated(scheme: Scheme, *, is_core: bool, version: str = "v2") -> Object:
    """Return the APIGroupDiscoveryList of the core group, or of all named groups.

    Args:
        scheme: What is served.
        is_core: Whether it is asked for at /api.
        version: "v2", or "v2beta1" for older clients.
    """
    groups = [name for name in scheme.groups() if bool(name) is not is_core]
    return {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": f"apidiscovery.k8s.io/{version}",
        "metadata": {},
        "items": [_discovered_group(scheme, name) for name in groups],
    }


def _discovered_group(scheme: Scheme, name: str) -> Object:
    metadata: Object = {"name": name} if name else {}
    versions = [
        {
            "version": version,
            "resources": [
                _discovered(resource)
                for resource in sorted(scheme.resources(name, version), key=lambda one: one.plural)
            ],
            "freshness": "Current",
        }
        for version in scheme.groups()[name]
    ]
    return {"metadata": {**metadata, "creationTimestamp": None}, "versions": versions}


def _discovered(resource: Resource) -> Object:
    entry: Object = {
        "resource": resource.plural,
        "responseKind": _kind(resource.group, resource.version, resource.kind),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": _kind(sub.group, sub.version, sub.kind),
                "verbs": list(sub.verbs),
            }
            for sub in sorted(resource.subresources, key=lambda one: one.name)
        ]
    return entry


def _kind(group: str, version: str, kind: str) -> Object:
    return {"group": group, "version": version, "kind": kind}
