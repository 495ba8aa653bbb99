"""/livez, /readyz and /healthz: named checks, one by one or all together.

Source: k8s.io/apiserver/pkg/server/healthz/healthz.go (v1.37).
"""

from collections.abc import Callable, Mapping

from knarr.apiserver import options
from knarr.kit import metrics
from knarr.kit.http.messages import Headers, Response

Check = Callable[[], str]
"""Returns why it fails, empty if it does not."""

ENDPOINTS = ("healthz", "livez", "readyz")
HOOKS = tuple(
    name if name == "autoregister-completion" else f"poststarthook/{name}"
    for name in (
        "start-apiserver-admission-initializer", "generic-apiserver-start-informers", "priority-and-fairness-config-consumer",
        "priority-and-fairness-filter", "storage-object-count-tracker-hook", "start-apiextensions-informers",
        "start-apiextensions-controllers", "crd-informer-synced", "start-system-namespaces-controller",
        "start-cluster-authentication-info-controller", "start-legacy-token-tracking-controller",
        "start-service-ip-repair-controllers", "rbac/bootstrap-roles", "scheduling/bootstrap-system-priority-classes",
        "priority-and-fairness-config-producer", "bootstrap-controller", "start-kubernetes-service-cidr-controller",
        "aggregator-reload-proxy-client-cert", "start-kube-aggregator-informers", "apiservice-status-local-available-controller",
        "apiservice-status-remote-available-controller", "apiservice-registration-controller", "apiservice-discovery-controller",
        "kube-apiserver-autoregistration", "autoregister-completion", "apiservice-openapi-controller",
        "apiservice-openapiv3-controller",
    )
)  # fmt: skip
"""What upstream starts one by one and tells of one by one, in its order; here all of it is done before the server is ready."""


class Health:
    """The checks of one server.

    Args:
        live: Checks of /livez and /healthz.
        ready: Further checks of /readyz.
        registry: Shows the results.
    """

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check], registry: metrics.Registry) -> None:
        self.slis = metrics.Registry()
        levels = [
            one.gauge(
                "kubernetes_healthcheck",
                "[STABLE] This metric records the result of a single healthcheck.",
                ("name", "type"),
            )
            for one in (registry, self.slis)
        ]
        counts = [
            one.counter(
                "kubernetes_healthchecks_total",
                "[STABLE] This metric records the results of all healthcheck.",
                ("name", "type", "status"),
            )
            for one in (registry, self.slis)
        ]
        self._levels, self._counts = levels, counts
        everything = {**live, **ready}
        self._checks = {"healthz": dict(live), "livez": dict(live), "readyz": everything}

    def serve(self, path: str, query: str) -> Response | None:
        """Answer "/readyz" and "/readyz/<check>"; None if there is no such endpoint or check."""
        endpoint, _, name = path.strip("/").partition("/")
        checks = self._checks.get(endpoint)
        if checks is None:
            return None
        if name:
            if name not in checks:
                return None
            why = self._run(endpoint, name, checks[name])
            return _text(500, f"internal server error: {why}\n") if why else _text(200, "ok")
        values = options.parse(query)
        excluded = set(values.get("exclude", ()))
        unknown = sorted(excluded - checks.keys())
        results = {name: self._run(endpoint, name, check) for name, check in checks.items() if name not in excluded}
        failed = any(results.values())
        if not failed and "verbose" not in values:
            return _text(200, "ok")
        lines = [f"[+]{name} excluded: ok" for name in sorted(excluded & checks.keys())]
        lines += [f"[-]{name} failed: reason withheld" if why else f"[+]{name} ok" for name, why in results.items()]
        if unknown:
            listed = ", ".join(f'"{name}"' for name in unknown)
            lines.append(f"warn: some health checks cannot be excluded: no matches for {listed}")
        lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
        return _text(500 if failed else 200, "\n".join(lines) + "\n")

    def _run(self, endpoint: str, name: str, check: Check) -> str:
        why = check()
        for level in self._levels:
            level.labels(name, endpoint).set(0.0 if why else 1.0)
        for count in self._counts:
            count.labels(name, endpoint, "error" if why else "success").add()
        return why


def _text(status: int, body: str) -> Response:
    fields = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, Headers.from_lower(fields), body.encode())
