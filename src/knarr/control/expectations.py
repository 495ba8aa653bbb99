"""What a controller has just done and its informer has not shown yet.

A controller that created three pods must not create three more because its cache is a moment behind. It notes what it expects to see,
counts down as it sees it, and leaves the object alone meanwhile; after a while it gives up waiting.

Source: k8s.io/kubernetes/pkg/controller ControllerExpectations (v1.37).
"""

from dataclasses import dataclass, field

from knarr.kit.clock import Clock

TIMEOUT_S = 300.0


@dataclass(slots=True)
class _Expected:
    creations: int = 0
    deletions: set[str] = field(default_factory=set)
    since_s: float = 0.0


class Expectations:
    """What is expected of each owner, told by any key such as its uid.

    Args:
        clock: Ends waiting that is in vain.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._owners: dict[str, _Expected] = {}

    def is_fulfilled(self, owner: str) -> bool:
        """Tell whether all that was expected has been seen, or has been waited for long enough."""
        expected = self._owners.get(owner)
        if expected is None:
            return True
        if not (expected.creations > 0 or expected.deletions):
            return True
        return self._clock.monotonic_s() - expected.since_s > TIMEOUT_S

    def expect_creations(self, owner: str, count: int) -> None:
        """Expect to see `count` new objects."""
        expected = self._fresh(owner)
        expected.creations = count

    def expect(self, owner: str, creations: int, deletions: set[str]) -> None:
        """Expect both."""
        if creations or deletions:
            expected = self._fresh(owner)
            expected.creations, expected.deletions = creations, set(deletions)

    def expect_deletions(self, owner: str, uids: set[str]) -> None:
        """Expect to see these objects go."""
        expected = self._fresh(owner)
        expected.deletions = set(uids)

    def saw_creation(self, owner: str, count: int = 1) -> None:
        """Count down: objects were seen, or their creation failed."""
        expected = self._owners.get(owner)
        if expected is not None:
            expected.creations -= count

    def saw_deletion(self, owner: str, uid: str) -> None:
        """Count down: an object went or is going, or its deletion failed."""
        expected = self._owners.get(owner)
        if expected is not None:
            expected.deletions.discard(uid)

    def forget(self, owner: str) -> None:
        """Expect nothing more."""
        self._owners.pop(owner, None)

    def _fresh(self, owner: str) -> _Expected:
        expected = self._owners[owner] = _Expected(since_s=self._clock.monotonic_s())
        return expected
