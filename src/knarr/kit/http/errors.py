"""What can go wrong between an HTTP client and a server, apart from what the server answers."""

from knarr.kit.http.messages import Response


class HttpError(Exception):
    """The root of the errors of this package."""


class ConnectFailed(HttpError):
    """Raised when no connection could be opened: nothing has been sent.

    Attributes:
        address: Where to, as "host:port" or a socket's path.
    """

    def __init__(self, address: str, why: str) -> None:
        super().__init__(f"cannot connect to {address}: {why}")
        self.address = address


class ConnectRefused(ConnectFailed):
    """Raised when nobody listens at the address."""

    def __init__(self, address: str) -> None:
        super().__init__(address, "connection refused")


class ConnectTimeout(ConnectFailed):
    """Raised when the connection, TLS included, was not open in time."""

    def __init__(self, address: str, timeout_s: float) -> None:
        super().__init__(address, f"no connection within {timeout_s:g} s")


class TlsFailed(ConnectFailed):
    """Raised when the TLS handshake failed: an unknown authority, a wrong name, a refused client certificate."""


class ResponseTimeout(HttpError):
    """Raised when the answer did not come in time; the server may have carried the request out."""

    def __init__(self, address: str, timeout_s: float) -> None:
        super().__init__(f"{address} did not answer within {timeout_s:g} s")
        self.address = address


class ConnectionLost(HttpError):
    """Raised when the connection ended before the answer was complete.

    Attributes:
        answered: Whether any byte of the answer had come.
    """

    def __init__(self, address: str, *, answered: bool) -> None:
        state = "in the middle of the answer" if answered else "before it answered"
        super().__init__(f"{address} closed the connection {state}")
        self.address = address
        self.answered = answered


class BadResponse(HttpError):
    """Raised when the answer is not HTTP."""


class BodyTooLarge(HttpError):
    """Raised when the answer's body is longer than the caller's limit."""

    def __init__(self, address: str, limit_bytes: int) -> None:
        super().__init__(f"the answer of {address} is longer than {limit_bytes} bytes")
        self.limit_bytes = limit_bytes


class UpgradeRefused(HttpError):
    """Raised when the server answered an upgrade with something other than 101.

    Attributes:
        response: The whole answer.
    """

    def __init__(self, response: Response) -> None:
        super().__init__(f"the server answered {response.status} instead of switching protocols")
        self.response = response


class BadMessage(HttpError):
    """Raised when a message that this program wants to send cannot be written as HTTP, such as a newline in a header."""
