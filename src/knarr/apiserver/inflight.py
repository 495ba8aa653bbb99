"""Which requests change something, and which may go on for ever.

Source: k8s.io/apiserver/pkg/server/filters/{maxinflight,longrunning}.go (v1.37).
"""

from knarr.apiserver.requestinfo import RequestInfo

_READS = {"get", "list", "watch"}
_READ_METHODS = {"get", "head", "options"}
_LONG_SUBRESOURCES = {"attach", "exec", "portforward", "log", "proxy"}


def is_mutating(info: RequestInfo) -> bool:
    """Return whether a request may change something."""
    return info.verb not in (_READS if info.is_resource_request else _READ_METHODS)


def is_long_running(info: RequestInfo) -> bool:
    """Return whether a request may go on for ever: a watch or a stream."""
    return info.verb in ("watch", "proxy") or info.subresource in _LONG_SUBRESOURCES
