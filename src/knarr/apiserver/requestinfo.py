"""What a request means, read off its method, path and query alone.

The same value feeds routing, authorization, admission and audit, so that none of them can read a request differently.

Source: k8s.io/apiserver/pkg/endpoints/request/requestinfo.go (v1.37).
"""

from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_SPECIAL = {"proxy", "watch"}
_NAMESPACE_SUBRESOURCES = {"status", "finalize"}


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """The meaning of one request.

    Attributes:
        is_resource_request: Whether the path names a resource; otherwise only `verb` and `path` count.
        path: The decoded path.
        verb: "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection" or "proxy"; for other paths
            the method in lower case.
        prefix: "api" or "apis".
        group: The API group, "" for core.
        version: The version in the group.
        namespace: Empty for cluster scope and for all namespaces.
        resource: The plural name, such as "pods".
        subresource: Such as "status"; empty for the object itself.
        name: The object's name; empty for a collection.
        parts: What follows group, version and namespace: resource, name, subresource, and the rest of a proxied path.
        label_selector: As given in the query of a list, watch or deletecollection.
        field_selector: Likewise.
    """

    is_resource_request: bool
    path: str
    verb: str
    prefix: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    parts: tuple[str, ...] = ()
    label_selector: str = ""
    field_selector: str = ""

    @property
    def qualified_resource(self) -> str:
        """The resource with its group: "deployments.apps", "pods"."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


def parse(method: str, path: str, query: str = "") -> RequestInfo:
    """Work out what a request means.

    Args:
        method: The HTTP method, upper case.
        path: As sent, percent-encoded; known to decode to UTF-8.
        query: As sent, without "?".
    """
    decoded = unquote(path)
    other = RequestInfo(False, decoded, method.lower())
    parts = [part for part in decoded.strip("/").split("/") if part]
    if len(parts) < 3 or parts[0] not in ("api", "apis"):
        return other
    prefix = parts[0]
    if prefix == "apis":
        if len(parts) < 4:
            return other
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        group, version, rest = "", parts[1], parts[2:]
    verb = _VERBS.get(method, "")
    if rest[0] in _SPECIAL:
        if len(rest) < 2:
            return other
        verb, rest = rest[0], rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 1:
        namespace = rest[1]
        # "namespaces/x/pods" is about pods; "namespaces/x" and its own subresources are about the namespace.
        if len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES:
            rest = rest[2:]
    resource, name, subresource = rest[0], rest[1] if len(rest) > 1 else "", rest[2] if len(rest) > 2 else ""
    if verb == "proxy":
        subresource = ""
    labels = fields = ""
    if (verb in ("get", "delete") and not name) or verb == "watch":
        options = parse_qs(query, keep_blank_values=True)
        labels, fields = _first(options, "labelSelector"), _first(options, "fieldSelector")
        if verb == "get":
            verb = "watch" if "watch" in options and is_true(options["watch"][0]) else "list"
        elif verb == "delete":
            verb = "deletecollection"
    if verb in ("list", "watch", "deletecollection") and not name:
        name = _name_in(fields)
    return RequestInfo(
        True, decoded, verb, prefix, group, version, namespace, resource, subresource, name, tuple(rest), labels, fields
    )


def _first(options: dict[str, list[str]], name: str) -> str:
    return options.get(name, [""])[0]


def is_true(value: str) -> bool:
    """Read a flag of a query as upstream does: given at all it is true, unless it is "false" or "0"."""
    return value.lower() not in ("false", "0")


def _name_in(field_selector: str) -> str:
    # A list of one name is authorized as that name.
    for part in field_selector.split(","):
        name, equals, value = part.partition("=")
        if name.strip() == "metadata.name" and equals and not name.endswith("!"):
            return value.removeprefix("=").strip()
    return ""
