"""What the API server measures, under upstream's names.

Source: k8s.io/apiserver/pkg/endpoints/metrics/metrics.go (v1.37).
"""

from collections.abc import Callable, Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from knarr.api.scheme import Resource, Scheme
from knarr.apiserver import keys
from knarr.apiserver.requestinfo import RequestInfo
from knarr.apiserver.version import info
from knarr.kit import metrics
from knarr.kit.http.messages import Headers, Response
from knarr.store import query as queries
from knarr.store import store as stores

_DURATION_BOUNDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
_REQUEST = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_PLACE = ("verb", "group", "version", "resource", "subresource", "scope", "component")
_SIZE_BOUNDS = tuple(1000.0 * 10**power for power in range(7))
_READS = ("GET", "LIST")
_COMPONENT = "apiserver"
_BUILD = {
    "major": "major",
    "minor": "minor",
    "git_version": "gitVersion",
    "git_commit": "gitCommit",
    "git_tree_state": "gitTreeState",
    "build_date": "buildDate",
    "go_version": "goVersion",
    "compiler": "compiler",
    "platform": "platform",
}
_VERBS = {
    "deletecollection": "DELETECOLLECTION",
    "proxy": "CONNECT",
    "patch": "PATCH",
    "update": "PUT",
    "create": "POST",
}
_CONNECTED = {"exec", "attach", "portforward", "proxy", "log"}

_Key = tuple[str, ...]


class Metrics:
    """The counts of one API server.

    Attributes:
        registry: Where further ones are declared.
    """

    def __init__(self) -> None:
        self.registry = metrics.Registry()
        add = self.registry
        self._requests = add.counter(
            "apiserver_request_total",
            "[STABLE] Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, "
            "and HTTP response code.",
            (*_REQUEST, "code"),
        )
        self._durations = add.histogram(
            "apiserver_request_duration_seconds",
            "[STABLE] Response latency distribution in seconds for each verb, dry run value, group, version, resource, "
            "subresource, scope and component.",
            _DURATION_BOUNDS,
            _REQUEST,
        )
        self._slis = add.histogram(
            "apiserver_request_sli_duration_seconds",
            "[ALPHA] Response latency distribution (not counting priority & fairness queue wait times) in seconds for each verb, "
            "group, version, resource, subresource, scope and component.",
            _DURATION_BOUNDS[2:],
            _PLACE,
        )
        self._sizes = add.histogram(
            "apiserver_response_sizes",
            "[STABLE] Response size distribution in bytes for each group, version, verb, resource, subresource, scope and "
            "component.",
            _SIZE_BOUNDS,
            _PLACE,
        )
        self.watch_events = add.counter(
            "apiserver_watch_events_total",
            "[ALPHA] Number of events sent in watch clients",
            ("group", "version", "resource"),
        )
        self._terminated = add.counter(
            "apiserver_request_terminations_total",
            "[ALPHA] Number of requests which apiserver terminated in self-defense.",
            (*_PLACE, "code"),
        )
        version_info = info()
        build = add.gauge(
            "kubernetes_build_info",
            "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build "
            "date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
            tuple(_BUILD),
        )
        build.labels(*(version_info[key] for key in _BUILD.values())).set(1.0)
        self.inflight = add.gauge(
            "apiserver_current_inflight_requests",
            "[STABLE] Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
            ("request_kind",),
        )
        self.longrunning = add.gauge(
            "apiserver_longrunning_requests",
            "[STABLE] Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and "
            "component. Not all requests are tracked this way.",
            _PLACE,
        )
        self._rejected = add.counter(
            "apiserver_dropped_requests_total",
            "Number of requests dropped with 'Try again later' response",
            ("request_kind",),
        )
        self._aborted = add.counter(
            "apiserver_request_aborts_total",
            "Number of requests which apiserver aborted possibly due to a timeout, for each group, version, verb, resource, "
            "subresource and scope",
            ("verb", "group", "version", "resource", "subresource", "scope"),
        )

    def watch_store(self, store: stores.Store, scheme: Callable[[], Scheme]) -> None:
        """Show what the store holds, too.

        Args:
            store: Is asked each time.
            scheme: Tells what there can be.
        """

        def collect() -> Iterable[Metric]:
            words = "Number of stored objects at the time of last check split by kind. In case of a fetching error, the value will be -1."
            old = GaugeMetricFamily("apiserver_storage_objects", f"[STABLE] {words}", labels=["resource"])
            new = GaugeMetricFamily("apiserver_resource_objects", f"[ALPHA] {words}", labels=["group", "resource"])
            for resource in _stored(scheme()):
                page = store.list(queries.Query(keys.prefix(resource)), limit=1)
                count = len(page.entries) + (page.remaining or 0)
                old.add_metric([resource.qualified], count)
                new.add_metric([resource.group, resource.plural], count)
            yield from (old, new)
            watchers = GaugeMetricFamily("apiserver_registered_watchers", "Number of currently registered watchers")
            watchers.add_metric([], store.watches)
            yield watchers

        self.registry.collect_from(collect)

    def observe(
        self, info: RequestInfo, method: str, *, dry_run: bool, code: int, seconds: float, waited_s: float, size: int
    ) -> None:
        """Count a request that has been answered.

        Args:
            info: What was asked.
            method: Of HTTP.
            dry_run: Whether nothing was to change.
            code: The HTTP status.
            seconds: How long it took.
            waited_s: How much of that it waited for its turn.
            size: Of the answer in bytes; -1 for a stream.
        """
        labels = _labels(info, method, dry_run)
        self._requests.labels(*labels, str(code)).add()
        if info.verb == "watch":
            return
        self._durations.labels(*labels).observe(seconds)
        place = (labels[0], *labels[2:])
        self._slis.labels(*place).observe(seconds - waited_s)
        if size >= 0 and labels[0] in _READS:
            self._sizes.labels(*place).observe(size)

    def reject(self, info: RequestInfo, method: str, *, mutating: bool) -> None:
        """Count a request that was told to come back later."""
        self._rejected.labels("mutating" if mutating else "readOnly").add()
        self._terminate(info, method, "429")

    def abort(self, info: RequestInfo, method: str) -> None:
        """Count a request that took too long."""
        verb, _, group, version, resource, subresource, scope, _ = _labels(info, method, False)
        self._aborted.labels(verb, group, version, resource, subresource, scope).add()
        self._terminate(info, method, "504")

    def long_running(self, info: RequestInfo, method: str) -> metrics.Level:
        """Return the gauge that such a watch or stream counts in."""
        verb, _, group, version, resource, subresource, scope, component = _labels(info, method, False)
        return self.longrunning.labels(verb, group, version, resource, subresource, scope, component)

    def _terminate(self, info: RequestInfo, method: str, code: str) -> None:
        verb, _, *rest = _labels(info, method, False)
        self._terminated.labels(verb, *rest, code).add()

    def to_response(self) -> Response:
        """Answer GET /metrics: this server's metrics and those of the process."""
        response = metrics.PROCESS.to_response()
        assert isinstance(response.body, bytes)
        kind = response.headers.get("content-type") or "text/plain"
        return Response(200, Headers.from_lower([("content-type", kind)]), self.registry.expose() + response.body)


def _labels(info: RequestInfo, method: str, dry_run: bool) -> _Key:
    scope = ""
    if info.is_resource_request:
        scope = "resource" if info.name else "namespace" if info.namespace else "cluster"
    verb = _VERBS.get(info.verb, info.verb.upper()) if info.is_resource_request else method
    if info.subresource in _CONNECTED:
        verb = "CONNECT"
    dry = "All" if dry_run else ""
    return (verb, dry, info.group, info.version, info.resource, info.subresource, scope, _COMPONENT)


def _stored(scheme: Scheme) -> Iterable[Resource]:
    """Return one resource of each storage."""
    found: dict[str, Resource] = {}
    for group, versions in scheme.groups().items():
        for version in versions:
            for resource in scheme.resources(group, version):
                if resource.is_stored:
                    found.setdefault(resource.storage, resource)
    return found.values()
