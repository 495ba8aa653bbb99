"""When rejected requests should come back: the more are rejected, the later, as TCP widens and narrows its window.

Upstream counterpart: k8s.io/apiserver/pkg/util/flowcontrol/dropped_requests_tracker.go (v1.37).
"""

LONGEST_S = 32


class RetryAfter:
    """The advice of one priority level."""

    def __init__(self) -> None:
        self.seconds = 1
        self._history: list[tuple[int, int]] = []
        self._second = self._count = 0
        self._grown_at = 0

    def note(self, now: int) -> None:
        """Count a rejected request.

        Args:
            now: Unix time in seconds.
        """
        if now == self._second:
            self._count += 1
            return
        kept = min(2 * self.seconds, LONGEST_S)
        self._history.append((self._second, self._count))
        self._history = [one for one in self._history if self._second - one[0] <= kept]
        self._second, self._count = now, 1
        self._review(now)

    def _review(self, now: int) -> None:
        rejected = sum(count for second, count in self._history if second < now <= second + self.seconds)
        if now - self._grown_at >= self.seconds and rejected >= 3 * self.seconds:
            self.seconds = min(2 * self.seconds, LONGEST_S)
            self._grown_at = now
        elif rejected < self.seconds and self.seconds > 1:
            self.seconds -= 1
