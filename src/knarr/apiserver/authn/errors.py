"""Why credentials are refused. Callers are told only "Unauthorized"; a TokenReview tells the reason."""


class InvalidToken(Exception):
    """Raised when a token is of a known kind but wrong.

    Attributes:
        reason: What is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InvalidSignature(InvalidToken):
    """Raised when nobody whose key is known signed a token."""

    def __init__(self) -> None:
        super().__init__("the token is not signed with a known key")
