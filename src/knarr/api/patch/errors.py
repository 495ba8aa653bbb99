"""Why a patch does not apply, before it becomes an answer to the request."""


class Inapplicable(Exception):
    """Raised when an operation or directive does not fit the object; the message says why."""
