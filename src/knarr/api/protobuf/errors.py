"""What can be wrong with a protobuf body, and with an object that should become one."""

from knarr.api import codec


class BadEnvelope(codec.BadBody):
    """Raised when bytes are no protobuf envelope, so that not even the kind can be read; the message is upstream's."""


class BadMessage(ValueError):
    """Raised when the message in an envelope cannot be read.

    Attributes:
        kind: The kind that the envelope names.
        api_version: The apiVersion that the envelope names.
    """

    def __init__(self, kind: str, api_version: str, why: str) -> None:
        super().__init__(why)
        self.kind = kind
        self.api_version = api_version

    @property
    def version(self) -> str:
        """The version without the group."""
        return self.api_version.rpartition("/")[2]


class NotMarshalable(ValueError):
    """Raised when an object has no protobuf form: its kind is a custom one, or a field holds what the type does not allow."""


class WireError(ValueError):
    """Raised when bytes are no message of the type expected; the message is upstream's."""
