"""What can be done at which path, in the form of OpenAPI v2; `to_v3` rewrites it.

Clients look here for the kind that belongs to a path and for the parameters that it understands, such as fieldValidation.

Source: k8s.io/apiserver/pkg/endpoints/installer.go (operations, parameters, descriptions) (v1.37).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from knarr.api.scheme import Resource, Subresource
from knarr.apiserver.openapi import schemas

Object = dict[str, Any]

_CUSTOM_READ_TYPES = ["application/json", "application/yaml"]
_READ_TYPES = [*_CUSTOM_READ_TYPES, "application/vnd.kubernetes.protobuf"]
_STREAMS = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"]
# The last one is not for custom kinds: kubectl asks here before it chooses how to patch.
_PATCH_TYPES = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
]
_CONNECT_METHODS = {"create": "post", "delete": "delete", "get": "get", "patch": "patch", "update": "put"}
_CONNECT_ALL = ("delete", "get", "head", "options", "patch", "post", "put")
_OPTIONS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "PodExecOptions": (
        ("command", "string", "Command is the remote command to execute, one argument a value."),
        ("container", "string", "Container in which to execute the command."),
        ("stdin", "boolean", "Redirect the standard input stream of the pod for this call."),
        ("stdout", "boolean", "Redirect the standard output stream of the pod for this call."),
        ("stderr", "boolean", "Redirect the standard error stream of the pod for this call."),
        ("tty", "boolean", "Allocate a terminal for this call."),
    ),
    "PodAttachOptions": (
        ("container", "string", "Container to attach to."),
        ("stdin", "boolean", "Redirect the standard input stream of the pod for this call."),
        ("stdout", "boolean", "Redirect the standard output stream of the pod for this call."),
        ("stderr", "boolean", "Redirect the standard error stream of the pod for this call."),
        ("tty", "boolean", "Pass through a terminal for this call."),
    ),
    "PodPortForwardOptions": (("ports", "integer", "List of ports to forward."),),
    "PodProxyOptions": (("path", "string", "Path is the URL path to use for the current proxy request to pod."),),
    "ServiceProxyOptions": (
        ("path", "string", "Path is the part of URLs that include service endpoints, suffixes, and parameters."),
    ),
    "NodeProxyOptions": (("path", "string", "Path is the URL path to use for the current proxy request to node."),),
    "log": (
        ("container", "string", "The container for which to stream logs."),
        ("follow", "boolean", "Follow the log stream of the pod."),
        ("insecureSkipTLSVerifyBackend", "boolean", "Do not verify the certificate of the node."),
        ("limitBytes", "integer", "The number of bytes to read before ending the output."),
        ("previous", "boolean", "Return the logs of the previous terminated container."),
        ("sinceSeconds", "integer", "How many seconds back from now logs are shown."),
        ("stream", "string", "Which of the container's streams is shown."),
        ("tailLines", "integer", "How many lines from the end of the logs are shown."),
        ("timestamps", "boolean", "Prefix every line with its time."),
    ),
}
_PRETTY = ("pretty", "string", "If 'true', then the output is pretty printed.")
_WRITE = (
    ("dryRun", "string", "When present, indicates that modifications should not be persisted; the valid value is All."),
    ("fieldManager", "string", "A name associated with the actor or entity that is making these changes."),
    ("fieldValidation", "string", "What to do about unknown or duplicate fields: Ignore, Warn or Strict."),
)
_FORCE = (("force", "boolean", "Force is going to force apply requests: it re-acquires conflicting fields."),)
_DELETE = (
    ("dryRun", "string", "When present, indicates that modifications should not be persisted; the valid value is All."),
    ("gracePeriodSeconds", "integer", "The duration in seconds before the object should be deleted."),
    ("ignoreStoreReadErrorWithClusterBreakingPotential", "boolean", "Delete an object that can no longer be read."),
    ("orphanDependents", "boolean", "Deprecated: please use propagationPolicy."),
    ("propagationPolicy", "string", "Whether and how garbage collection will be performed."),
)
_LIST = (
    ("allowWatchBookmarks", "boolean", "Allow events of type BOOKMARK."),
    ("continue", "string", "The continue option should be set when retrieving more results from the server."),
    ("fieldSelector", "string", "A selector to restrict the list of returned objects by their fields."),
    ("labelSelector", "string", "A selector to restrict the list of returned objects by their labels."),
    ("limit", "integer", "A maximum number of responses to return for a list call."),
    ("resourceVersion", "string", "A constraint on what resource versions a request may be served from."),
    ("resourceVersionMatch", "string", "How resourceVersion is applied to list calls."),
    ("sendInitialEvents", "boolean", "Begin a watch with events for all objects that exist."),
    ("timeoutSeconds", "integer", "Timeout for the list/watch call."),
    ("watch", "boolean", "Watch for changes to the described resources."),
)


def of_version(resources: list[Resource], known: Mapping[str, Any]) -> Iterator[tuple[str, Object]]:
    """Yield the paths of a version with their path items.

    Args:
        resources: What it serves.
        known: The definitions; a reference is made only to one of these.
    """
    for resource in sorted(resources, key=lambda one: one.plural):
        yield from _Paths(resource, known).all()


class _Paths:
    """The paths of one resource."""

    def __init__(self, resource: Resource, known: Mapping[str, Any]) -> None:
        self._resource = resource
        self._known = known
        self._root = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
        self._tag = _camel(resource.group, resource.version)
        self._scope = "Namespaced" if resource.namespaced else ""

    def all(self) -> Iterator[tuple[str, Object]]:
        resource = self._resource
        place = f"{self._root}/namespaces/{{namespace}}" if resource.namespaced else self._root
        shared = [_path_parameter("namespace", "object name and auth scope, such as for teams and projects")]
        shared = shared if resource.namespaced else []
        named = [_path_parameter("name", f"name of the {resource.kind}"), *shared]
        collection = f"{place}/{resource.plural}"
        if resource.namespaced and "list" in resource.verbs:
            every = self._list(f"list{self._tag}{resource.kind}ForAllNamespaces")
            yield f"{self._root}/{resource.plural}", {"get": every, "parameters": [_query(*_PRETTY)]}
        item = self._collection()
        if item:
            yield collection, {**item, "parameters": [*shared, _query(*_PRETTY)]}
        item = self._item()
        if item:
            yield f"{collection}/{{name}}", {**item, "parameters": [*named, _query(*_PRETTY)]}
        for sub in resource.subresources:
            yield from self._subresource(f"{collection}/{{name}}/{sub.name}", sub, named)

    def _collection(self) -> Object:
        resource, name = self._resource, f"{self._scope}{self._resource.kind}"
        item: Object = {}
        if "list" in resource.verbs:
            item["get"] = self._list(f"list{self._tag}{name}")
        if "create" in resource.verbs:
            item["post"] = self._operation(
                "post", f"create{self._tag}{name}", f"create {_article(resource.kind)}", _WRITE,
                body=resource.definition, answers=(200, 201, 202),
            )  # fmt: skip
        if "deletecollection" in resource.verbs:
            item["delete"] = self._operation(
                "deletecollection", f"delete{self._tag}Collection{name}", f"delete collection of {resource.kind}",
                _by_name(*_LIST[1:8], *_DELETE, _LIST[8]), body=schemas.DELETE_OPTIONS, answer=schemas.STATUS,
            )  # fmt: skip
        return item

    def _item(self) -> Object:
        resource, name = self._resource, f"{self._scope}{self._resource.kind}"
        item = self._edits(resource.verbs, name, f"the specified {resource.kind}", "", resource.definition)
        if "delete" in resource.verbs:
            item["delete"] = self._operation(
                "delete", f"delete{self._tag}{name}", f"delete {_article(resource.kind)}", _DELETE,
                body=schemas.DELETE_OPTIONS, answer=schemas.STATUS, answers=(200, 202),
            )  # fmt: skip
        return item

    def _edits(
        self, verbs: tuple[str, ...], name: str, what: str, suffix: str, definition: str, gvk: Object | None = None
    ) -> Object:
        item: Object = {}
        if "get" in verbs:
            extra = _OPTIONS["log"] if suffix == "Log" else ()
            item["get"] = self._operation(
                "get", f"read{self._tag}{name}{suffix}", f"read {what}", extra, answer=definition, gvk=gvk
            )
        if "update" in verbs:
            item["put"] = self._operation(
                "put", f"replace{self._tag}{name}{suffix}", f"replace {what}", _WRITE,
                body=definition, answer=definition, answers=(200, 201), gvk=gvk,
            )  # fmt: skip
        if "patch" in verbs:
            item["patch"] = self._operation(
                "patch", f"patch{self._tag}{name}{suffix}", f"partially update {what}", _by_name(*_WRITE, *_FORCE),
                body=schemas.PATCH, answer=definition, answers=(200, 201), gvk=gvk,
                consumes=_PATCH_TYPES[:3] if self._resource.custom else _PATCH_TYPES,
            )  # fmt: skip
        return item

    def _subresource(self, path: str, sub: Subresource, named: list[Object]) -> Iterator[tuple[str, Object]]:
        resource = self._resource
        gvk = {"group": sub.group, "kind": sub.kind, "version": sub.version}
        name, suffix = f"{self._scope}{resource.kind}", _title(sub.name)
        shared = [*named, _query(*_PRETTY)]
        if sub.kind in _OPTIONS:
            yield path, self._connect(sub, name, suffix, gvk, named)
            if sub.name == "proxy":
                tail = _path_parameter("path", "path to the resource")
                yield f"{path}/{{path}}", self._connect(sub, name, f"{suffix}WithPath", gvk, [*named, tail])
            return
        definition = self._definition_of(sub)
        item = self._edits(sub.verbs, name, f"{sub.name} of the specified {resource.kind}", suffix, definition, gvk)
        if sub.verbs == ("create",):
            item["post"] = self._operation(
                "post", f"create{self._tag}{name}{suffix}", f"create {sub.name} of {_article(resource.kind)}", _WRITE,
                body=definition, answer=definition, answers=(200, 201, 202), gvk=gvk,
            )  # fmt: skip
        yield path, {**item, "parameters": shared}

    def _connect(self, sub: Subresource, name: str, suffix: str, gvk: Object, named: list[Object]) -> Object:
        methods = _CONNECT_ALL if sub.name == "proxy" else tuple(sorted(_CONNECT_METHODS[verb] for verb in sub.verbs))
        item: Object = {}
        for method in methods:
            item[method] = self._operation(
                "connect", f"connect{self._tag}{method.title()}{name}{suffix}",
                f"connect {method.upper()} requests to {sub.name} of {self._resource.kind}", gvk=gvk, answer="",
            )  # fmt: skip
        return {**item, "parameters": [*named, *(_query(*option) for option in _OPTIONS[sub.kind])]}

    def _definition_of(self, sub: Subresource) -> str:
        if sub.name == "log":
            return ""
        if sub.kind == self._resource.kind:
            return self._resource.definition
        package = {"": "core", "authentication.k8s.io": "authentication"}.get(sub.group, sub.group)
        return f"io.k8s.api.{package}.{sub.version}.{sub.kind}"

    def _list(self, operation_id: str) -> Object:
        kind = self._resource.kind
        listed = f"{self._resource.definition}List"
        return self._operation(
            "list",
            operation_id,
            f"list or watch objects of kind {kind}",
            _LIST,
            answer=listed,
            produces=self._read_types(watch=True),
        )

    def _operation(
        self,
        action: str,
        operation_id: str,
        description: str,
        parameters: tuple[tuple[str, str, str], ...] = (),
        *,
        body: str = "",
        answer: str | None = None,
        answers: tuple[int, ...] = (200,),
        gvk: Object | None = None,
        consumes: list[str] | None = None,
        produces: list[str] | None = None,
    ) -> Object:
        resource = self._resource
        listed = [_query(*parameter) for parameter in parameters]
        if body:
            is_needed = body != schemas.DELETE_OPTIONS
            found: Object = {"in": "body", "name": "body", "schema": self._schema(body)}
            listed = [{**found, "required": True} if is_needed else found, *listed]
        target = resource.definition if answer is None else answer
        responses = {str(code): {"description": _WORDS[code], "schema": self._schema(target)} for code in answers}
        return {
            "consumes": consumes or ["*/*"],
            "description": description,
            "operationId": operation_id,
            **({"parameters": listed} if listed else {}),
            "produces": produces or (self._read_types() if target else ["*/*"]),
            "responses": {**responses, "401": {"description": "Unauthorized"}},
            "schemes": ["https"],
            "tags": [self._tag[:1].lower() + self._tag[1:]],
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk
            or {"group": resource.group, "kind": resource.kind, "version": resource.version},
        }

    def _read_types(self, *, watch: bool = False) -> list[str]:
        if self._resource.custom:
            return [*_CUSTOM_READ_TYPES, *(_STREAMS[:1] if watch else ())]
        return [*_READ_TYPES, *(_STREAMS if watch else ())]

    def _schema(self, definition: str) -> Object:
        if definition in self._known:
            return {"$ref": schemas.V2_ROOT + definition}
        return {"type": "string"} if not definition else {"type": "object"}


_WORDS = {200: "OK", 201: "Created", 202: "Accepted"}


def to_v3(item: Object) -> Object:
    """Return a path item as OpenAPI v3 writes it."""
    out: Object = {}
    for method, operation in item.items():
        if method == "parameters":
            out[method] = [_parameter_to_v3(parameter) for parameter in operation]
        else:
            out[method] = _operation_to_v3(operation)
    return out


def _operation_to_v3(operation: Object) -> Object:
    out = {
        key: value
        for key, value in operation.items()
        if key not in ("consumes", "produces", "schemes", "parameters", "responses")
    }
    parameters = []
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "body":
            content = {media: {"schema": _ref_to_v3(parameter["schema"])} for media in operation["consumes"]}
            out["requestBody"] = {"content": content, **({"required": True} if parameter.get("required") else {})}
        else:
            parameters.append(_parameter_to_v3(parameter))
    if parameters:
        out["parameters"] = parameters
    out["responses"] = {
        code: _response_to_v3(response, operation["produces"]) for code, response in operation["responses"].items()
    }
    return out


def _response_to_v3(response: Object, produces: list[str]) -> Object:
    if "schema" not in response:
        return response
    schema = _ref_to_v3(response["schema"])
    return {"content": {media: {"schema": schema} for media in produces}, "description": response["description"]}


def _ref_to_v3(schema: Object) -> Object:
    reference = schema.get("$ref")
    return schema if reference is None else {"$ref": schemas.V3_ROOT + reference.rpartition("/")[2]}


def _parameter_to_v3(parameter: Object) -> Object:
    schema: Object = {"type": parameter["type"], "uniqueItems": True}
    return {**{key: value for key, value in parameter.items() if key not in ("type", "uniqueItems")}, "schema": schema}


def _query(name: str, kind: str, description: str) -> Object:
    return {"description": description, "in": "query", "name": name, "type": kind, "uniqueItems": True}


def _path_parameter(name: str, description: str) -> Object:
    return {
        "description": description, "in": "path", "name": name, "required": True, "type": "string", "uniqueItems": True,
    }  # fmt: skip


def _by_name(*parameters: tuple[str, str, str]) -> tuple[tuple[str, str, str], ...]:
    return tuple(sorted(parameters))


def _article(kind: str) -> str:
    return f"{'an' if kind[0] in 'AEIOU' else 'a'} {kind}"


def _title(name: str) -> str:
    return name[:1].upper() + name[1:]


def _camel(group: str, version: str) -> str:
    words = group.removesuffix(".k8s.io").split(".") if group else ["core"]
    return "".join(_title(part) for word in words for part in word.split("-")) + _title(version)
