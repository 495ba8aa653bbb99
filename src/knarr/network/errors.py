"""What can go wrong in the network of a node."""

from collections.abc import Sequence


class NetworkError(Exception):
    """Base of this package's errors."""


class CommandFailed(NetworkError):
    """Raised when a program of the system (nft, ip, conntrack) fails.

    Attributes:
        command: The words of the command.
        complaint: What it said.
    """

    def __init__(self, command: Sequence[str], complaint: str) -> None:
        self.command = tuple(command)
        self.complaint = complaint
        super().__init__(f"`{' '.join(command)}` failed: {complaint}")
