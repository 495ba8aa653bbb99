"""How many requests are served at a time; more are told to come back.

Source: k8s.io/apiserver/pkg/server/filters/maxinflight.go (v1.37).
"""

from collections.abc import Iterator
from contextlib import contextmanager

from knarr.api import errors
from knarr.api.user import MASTERS, User
from knarr.apiserver.metrics import Metrics
from knarr.apiserver.requestinfo import RequestInfo

_READS = {"get", "list", "watch"}
_READ_METHODS = {"get", "head", "options"}
_LONG_SUBRESOURCES = {"attach", "exec", "portforward", "log", "proxy"}


class Inflight:
    """Counts the requests under way.

    Args:
        reads: Most reads at a time; 0 means any number.
        writes: Most writes at a time; 0 means any number.
        metrics: Shows the counts.
    """

    def __init__(self, reads: int, writes: int, metrics: Metrics) -> None:
        self._limits = {False: reads, True: writes}
        self._metrics = metrics
        self._levels = {False: metrics.inflight.labels("readOnly"), True: metrics.inflight.labels("mutating")}

    @contextmanager
    def admit(self, user: User, *, mutating: bool) -> Iterator[None]:
        """Hold a place for one request; members of system:masters always get one.

        Raises:
            TooManyRequests: all places are taken.
        """
        level = self._levels[mutating]
        limit = self._limits[mutating]
        if limit and level.value >= limit and MASTERS not in user.groups:
            self._metrics.reject(mutating=mutating)
            raise errors.TooManyRequests("Too many requests, please try again later.")
        level.value += 1
        try:
            yield
        finally:
            level.value -= 1


def is_mutating(info: RequestInfo) -> bool:
    """Return whether a request may change something."""
    return info.verb not in (_READS if info.is_resource_request else _READ_METHODS)


def is_long_running(info: RequestInfo) -> bool:
    """Return whether a request may go on for ever: a watch or a stream."""
    return info.verb in ("watch", "proxy") or info.subresource in _LONG_SUBRESOURCES
