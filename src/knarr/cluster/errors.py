"""What can go wrong with a cluster as a whole; the command line turns each class into its exit code."""


class ClusterError(Exception):
    """Raised when a cluster operation failed; the message is for the user and says what to do."""


class UsageError(ClusterError):
    """Raised when what was asked for makes no sense."""


class WaitTimeout(ClusterError):
    """Raised when something that was waited for did not come in time."""


class ClusterNotFound(ClusterError):
    """Raised when there is no such cluster on this machine."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no cluster {name!r} on this machine; `knarr up --name {name}` creates it")
        self.name = name


class HostUnfit(ClusterError):
    """Raised when the machine cannot run a cluster as it is; the message lists each failed check and its fix."""
