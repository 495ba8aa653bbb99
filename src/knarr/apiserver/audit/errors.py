"""What is wrong with the configuration of auditing."""

from pathlib import Path


class BadPolicy(Exception):
    """Raised when an audit policy file cannot be used.

    Attributes:
        path: The file.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"audit policy file {path}: {why}")
        self.path = path
        self.why = why
