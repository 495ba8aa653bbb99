"""Why a pod cannot go on right now; each becomes a waiting reason, an event, or both."""


class StartFailed(Exception):
    """Raised when a container cannot be started; it is tried again with backoff.

    Attributes:
        reason: CamelCase, shown as the container's waiting reason.
        message: What went wrong.
        event: Reason of the event to record; empty records none.
        retry_s: When to try again; None leaves it to the worker.
    """

    def __init__(self, reason: str, message: str, *, event: str = "", retry_s: float | None = None) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.event = event
        self.retry_s = retry_s


class ConfigFailed(StartFailed):
    """Raised when a container's configuration cannot be made: a missing ConfigMap, key or user."""

    def __init__(self, message: str) -> None:
        super().__init__("CreateContainerConfigError", message, event="Failed")


class MountFailed(Exception):
    """Raised when a volume cannot be made ready.

    Attributes:
        volume: Its name in the pod.
    """

    def __init__(self, volume: str, why: str) -> None:
        super().__init__(f'MountVolume.SetUp failed for volume "{volume}" : {why}')
        self.volume = volume


class VolumeMissing(Exception):
    """Raised when what a volume refers to is not there: an object, a key, a path. The message is for the event."""


class ObjectUnavailable(VolumeMissing):
    """Raised when the API server does not tell of an object in time."""

    def __init__(self, kind: str, namespace: str, name: str) -> None:
        super().__init__(
            f"failed to sync {kind.lower()} cache: timed out waiting for the condition ({namespace}/{name})"
        )


class HookFailed(Exception):
    """Raised when a lifecycle hook failed."""
