"""/livez, /readyz and /healthz: named checks, one by one or all together.

Source: k8s.io/apiserver/pkg/server/healthz/healthz.go (v1.37).
"""

from collections.abc import Callable, Mapping

from knarr.apiserver import options
from knarr.kit.http.messages import Headers, Response

Check = Callable[[], str]
"""Returns why it fails, empty if it does not."""

ENDPOINTS = ("healthz", "livez", "readyz")


class Health:
    """The checks of one server.

    Args:
        live: Checks of /livez and /healthz.
        ready: Further checks of /readyz.
    """

    def __init__(self, live: Mapping[str, Check], ready: Mapping[str, Check]) -> None:
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
            why = checks[name]()
            return _text(500, f"internal server error: {why}\n") if why else _text(200, "ok")
        values = options.parse(query)
        excluded = set(values.get("exclude", ()))
        unknown = sorted(excluded - checks.keys())
        results = {name: check() for name, check in checks.items() if name not in excluded}
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


def _text(status: int, body: str) -> Response:
    fields = [("content-type", "text/plain; charset=utf-8"), ("x-content-type-options", "nosniff")]
    return Response(status, Headers.from_lower(fields), body.encode())
