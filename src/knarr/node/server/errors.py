"""Why the node's server does not answer as asked."""


class Declined(Exception):
    """Raised when a request cannot be answered; the message goes to whoever asked, as plain text.

    Attributes:
        status: The HTTP status.
        message: Why.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
