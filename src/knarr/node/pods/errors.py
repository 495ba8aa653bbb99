"""Why a pod cannot go on right now; each becomes a waiting reason, an event, or both."""


class StartFailed(Exception):
    """Raised when a container cannot be started; it is tried again with backoff.

    Attributes:
        reason: CamelCase, shown as the container's waiting reason.
        message: What went wrong.
        event: Reason of the event to record; empty records none.
    """

    def __init__(self, reason: str, message: str, *, event: str = "") -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.event = event


class ConfigFailed(StartFailed):
    """Raised when a container's configuration cannot be made: a missing ConfigMap, key or user."""

    def __init__(self, message: str) -> None:
        super().__init__("CreateContainerConfigError", message, event="Failed")


class HookFailed(Exception):
    """Raised when a lifecycle hook failed."""
