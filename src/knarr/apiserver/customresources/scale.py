"""The scale of a custom object, found where its definition says.

Source: ScaleREST in k8s.io/apiextensions-apiserver/pkg/registry/customresource/etcd.go (v1.37).
"""

from typing import Any

from knarr.api import errors
from knarr.apiserver.customresources.definitions import ScalePaths

Object = dict[str, Any]

_IDENTITY = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def at(obj: Any, path: str) -> Any:
    """Return what lies at a simple path such as ".spec.replicas"; None if nothing does."""
    for name in path.removeprefix(".").split("."):
        if not isinstance(obj, dict):
            return None
        obj = obj.get(name)
    return obj


def to_scale(obj: Object, paths: ScalePaths) -> Object:
    """Return the scale of an object.

    Raises:
        InternalError: the object says nothing of its replicas.
    """
    replicas = at(obj, paths.spec_replicas)
    if replicas is None:
        raise errors.InternalError(f"the spec replicas field {_quoted(paths.spec_replicas)} does not exist")
    shown: Object = {"replicas": at(obj, paths.status_replicas) or 0}
    if paths.label_selector:
        selector = at(obj, paths.label_selector)
        if selector:
            shown["selector"] = selector
    metadata = obj["metadata"]
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {name: metadata[name] for name in _IDENTITY if name in metadata},
        "spec": {"replicas": replicas} if replicas else {},
        "status": shown,
    }


def with_replicas(obj: Object, paths: ScalePaths, replicas: int) -> Object:
    """Return an object with other replicas; the dicts on the way are new, the rest is shared."""
    return _put(obj, paths.spec_replicas.removeprefix(".").split("."), replicas)


def _put(obj: Object, path: list[str], value: Any) -> Object:
    if len(path) == 1:
        return {**obj, path[0]: value}
    inner = obj.get(path[0])
    return {**obj, path[0]: _put(inner if isinstance(inner, dict) else {}, path[1:], value)}


def _quoted(path: str) -> str:
    return f'"{path}"'
