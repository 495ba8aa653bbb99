"""What the API server measures, under upstream's names.

Source: k8s.io/apiserver/pkg/endpoints/metrics/metrics.go (v1.37).
"""

from collections import Counter
from collections.abc import Iterable

from prometheus_client.core import GaugeMetricFamily, Metric

from knarr.apiserver import keys
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit import metrics
from knarr.kit.http.messages import Headers, Response
from knarr.store import query as queries
from knarr.store import store as stores

_DURATION_BOUNDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0,
)  # fmt: skip
_REQUEST = ("verb", "dry_run", "group", "version", "resource", "subresource", "scope", "component")
_COMPONENT = "apiserver"
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
            "Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, "
            "and HTTP response code.",
            (*_REQUEST, "code"),
        )
        self._durations = add.histogram(
            "apiserver_request_duration_seconds",
            "Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, "
            "scope and component.",
            _DURATION_BOUNDS,
            _REQUEST,
        )
        self.inflight = add.gauge(
            "apiserver_current_inflight_requests",
            "Maximal number of currently used inflight request limit of this apiserver per request kind in last second.",
            ("request_kind",),
        )
        self.longrunning = add.gauge(
            "apiserver_longrunning_requests",
            "Gauge of all active long-running apiserver requests broken out by verb, group, version, resource, scope and "
            "component. Not all requests are tracked this way.",
            ("verb", "group", "version", "resource", "subresource", "scope", "component"),
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

    def watch_store(self, store: stores.Store) -> None:
        """Show what the store holds, too."""

        def collect() -> Iterable[Metric]:
            page = store.list(queries.Query(keys.ROOT))
            counts = Counter(_storage_of(entry.key) for entry in page.entries)
            family = GaugeMetricFamily(
                "apiserver_storage_objects",
                "[STABLE] Number of stored objects at the time of last check split by kind.",
                labels=["resource"],
            )
            for name, count in counts.items():
                family.add_metric([name], count)
            yield family
            watchers = GaugeMetricFamily("apiserver_registered_watchers", "Number of currently registered watchers")
            watchers.add_metric([], store.watches)
            yield watchers

        self.registry.collect_from(collect)

    def observe(self, info: RequestInfo, method: str, dry_run: bool, code: int, seconds: float) -> None:
        """Count a request that has been answered."""
        labels = _labels(info, method, dry_run)
        self._requests.labels(*labels, str(code)).add()
        if info.verb != "watch":
            self._durations.labels(*labels).observe(seconds)

    def reject(self, *, mutating: bool) -> None:
        """Count a request that was told to come back later."""
        self._rejected.labels("mutating" if mutating else "readOnly").add()

    def abort(self, info: RequestInfo, method: str) -> None:
        """Count a request that took too long."""
        verb, _, group, version, resource, subresource, scope, _ = _labels(info, method, False)
        self._aborted.labels(verb, group, version, resource, subresource, scope).add()

    def long_running(self, info: RequestInfo, method: str) -> metrics.Level:
        """Return the gauge that such a watch or stream counts in."""
        verb, _, group, version, resource, subresource, scope, component = _labels(info, method, False)
        return self.longrunning.labels(verb, group, version, resource, subresource, scope, component)

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


def _storage_of(key: bytes) -> str:
    return key[len(keys.ROOT) :].partition(b"/")[0].decode()
