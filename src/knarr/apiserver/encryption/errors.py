"""What can go wrong with encryption at rest."""

from pathlib import Path

from knarr.store.errors import StoreError


class BadConfiguration(Exception):
    """Raised when an encryption configuration file cannot be used; it never shows a key.

    Attributes:
        path: The file.
        why: What is wrong with it.
    """

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"encryption provider configuration file {str(path)!r}: {why}")
        self.path = path
        self.why = why


class BadCiphertext(Exception):
    """Raised when a stored value cannot be decrypted with a key; the message says why."""


class Undecryptable(StoreError):
    """Raised when no configured provider can read a stored value.

    Attributes:
        key: Where it is stored.
        why: What each provider said.
    """

    def __init__(self, key: bytes, why: str) -> None:
        super().__init__(
            f'unable to transform key "{key.decode(errors="replace")}": {why}. Add the key with which it was written, or the '
            "identity provider if it was written in the clear, to the encryption configuration"
        )
        self.key = key
        self.why = why
