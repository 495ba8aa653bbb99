"""Why credentials are refused. Callers are told only "Unauthorized"; a TokenReview tells the reason."""

from pathlib import Path


class InvalidToken(Exception):
    """Raised when a token is of a known kind but wrong.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadConfiguration(Exception):
    """Raised when a file that configures authentication cannot be used.

    Attributes:
        path: The file.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"authentication configuration {path}: {why}")
        self.path = path
        self.why = why


class InvalidSignature(InvalidToken):
    """Raised when nobody whose key is known signed a token."""

    def __init__(self) -> None:
        super().__init__("the token is not signed with a known key")
