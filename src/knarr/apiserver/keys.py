"""Where objects stand in the store: `/registry/<storage>/[<namespace>/]<name>`."""

from knarr.api.scheme import Resource

ROOT = b"/registry/"


def prefix(resource: Resource, namespace: str = "") -> bytes:
    """Return the prefix of all objects of a resource, or of those in one namespace; it ends with "/"."""
    below = f"{namespace}/" if namespace else ""
    return b"%b%b/%b" % (ROOT, resource.storage.encode(), below.encode())


def key(resource: Resource, namespace: str, name: str) -> bytes:
    """Return the key of one object; `namespace` is ignored for a cluster-scoped resource."""
    return prefix(resource, namespace if resource.namespaced else "") + name.encode()


def split(resource: Resource, key: bytes) -> tuple[str, str]:
    """Return the namespace and name in a key of `resource`."""
    rest = key[len(ROOT) + len(resource.storage) + 1 :].decode()
    namespace, _, name = rest.rpartition("/")
    return namespace, name
