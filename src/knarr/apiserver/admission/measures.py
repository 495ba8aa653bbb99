"""How long admission takes, under upstream's names.

Source: k8s.io/apiserver/pkg/admission/metrics/metrics.go (v1.37).
"""

import time
from collections.abc import Awaitable

from knarr.kit import metrics

ADMIT, VALIDATE = "admit", "validate"
_BOUNDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5)
_WEBHOOK_BOUNDS = (*_BOUNDS, 10.0, 25.0)
_PREFIX = "apiserver_admission_"


class Durations:
    """Histograms of the chain, its plugins and the webhooks.

    Args:
        registry: Shows them; None shows them nowhere.
    """

    def __init__(self, registry: metrics.Registry | None = None) -> None:
        registry = registry or metrics.Registry()
        self._steps = registry.histogram(
            f"{_PREFIX}step_admission_duration_seconds",
            "[STABLE] Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step "
            "type (validate or admit).",
            _BOUNDS,
            ("type", "operation", "rejected"),
        )
        labels = ("name", "type", "operation", "rejected")
        self._controllers = registry.histogram(
            f"{_PREFIX}controller_admission_duration_seconds",
            "[STABLE] Admission controller latency histogram in seconds, identified by name and broken out for each operation "
            "and API resource and type (validate or admit).",
            _BOUNDS,
            labels,
        )
        self._webhooks = registry.histogram(
            f"{_PREFIX}webhook_admission_duration_seconds",
            "[STABLE] Admission webhook latency histogram in seconds, identified by name and broken out for each operation and "
            "API resource and type (validate or admit).",
            _WEBHOOK_BOUNDS,
            labels,
        )

    def step(self, kind: str, operation: str, seconds: float, *, rejected: bool) -> None:
        """Note one way through the chain."""
        self._steps.labels(kind, operation, _flag(rejected)).observe(seconds)

    def controller(self, name: str, kind: str, operation: str, seconds: float, *, rejected: bool) -> None:
        """Note one plugin."""
        self._controllers.labels(name, kind, operation, _flag(rejected)).observe(seconds)

    async def webhook(self, name: str, kind: str, operation: str, call: Awaitable[bytes]) -> bytes:
        """Wait for the answer of a webhook and note how long it took; a failure counts as a rejection."""
        started, rejected = time.perf_counter(), True
        try:
            answer = await call
            rejected = False
            return answer
        finally:
            seconds = time.perf_counter() - started
            self._webhooks.labels(name, kind, operation, _flag(rejected)).observe(seconds)


def _flag(value: bool) -> str:
    return "true" if value else "false"
