"""Who comes in and what they may, counted under upstream's names.

Source: k8s.io/apiserver/pkg/endpoints/filters/metrics.go, pkg/authentication/request/x509/x509.go (v1.37).
"""

from knarr.kit import metrics

_BOUNDS = tuple(0.001 * 2**power for power in range(15))
_LIFETIMES = (
    0.0, 1800.0, 3600.0, 7200.0, 21600.0, 43200.0, 86400.0, 172800.0, 345600.0, 604800.0, 2592000.0, 7776000.0, 15552000.0, 31104000.0,
)  # fmt: skip
_WELL_KNOWN = ("admin", "client", "kube_proxy", "kubelet", "system:serviceaccount:kube-system:default")


class AccessMeasures:
    """Authentication and authorization of one API server.

    Args:
        registry: Shows them.
    """

    def __init__(self, registry: metrics.Registry) -> None:
        self._users = registry.counter(
            "authenticated_user_requests",
            "[ALPHA] Counter of authenticated requests broken out by username.",
            ("username",),
        )
        tried = registry.counter("authentication_attempts", "[ALPHA] Counter of authenticated attempts.", ("result",))
        took = registry.histogram(
            "authentication_duration_seconds",
            "[ALPHA] Authentication duration in seconds broken out by result.",
            _BOUNDS,
            ("result",),
        )
        self._authentications = {
            ok: (tried.labels(result), took.labels(result)) for ok, result in ((True, "success"), (False, "error"))
        }
        decided = registry.counter(
            "authorization_attempts_total",
            "[ALPHA] Counter of authorization attempts broken down by result. It can be either 'allowed', 'denied', 'no-opinion' or "
            "'error'.",
            ("result",),
        )
        lasted = registry.histogram(
            "authorization_duration_seconds",
            "[ALPHA] Authorization duration in seconds broken out by result.",
            _BOUNDS,
            ("result",),
        )
        self._authorizations = {
            ok: (decided.labels(result), lasted.labels(result))
            for ok, result in ((True, "allowed"), (False, "no-opinion"))
        }
        self.certificates = registry.histogram(
            "apiserver_client_certificate_expiration_seconds",
            "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.",
            _LIFETIMES,
        ).labels()

    def authenticated(self, name: str | None, seconds: float) -> None:
        """Note an authentication; `name` is None if it failed."""
        count, duration = self._authentications[name is not None]
        count.value += 1
        duration.observe(seconds)
        if name is not None:
            # Names without end would be labels without end.
            self._users.labels(name if name in _WELL_KNOWN else "email_id" if "@" in name else "other").value += 1

    def authorized(self, allowed: bool, seconds: float) -> None:
        """Note an authorization."""
        count, duration = self._authorizations[allowed]
        count.value += 1
        duration.observe(seconds)
