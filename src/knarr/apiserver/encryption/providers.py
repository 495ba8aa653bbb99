"""Ways to encrypt a value: AES-CBC, AES-GCM, XSalsa20-Poly1305, and none.

A stored value begins with its provider and the name of its key, as upstream's: `k8s:enc:aescbc:v1:key1:`.

Source: k8s.io/apiserver/pkg/storage/value/encrypt/{aes,secretbox,identity} (v1.37).
"""

import os
from collections.abc import Sequence
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from knarr.apiserver.encryption.errors import BadCiphertext, Undecryptable

ENCRYPTED = b"k8s:enc:"
_BLOCK = 16
_NONCE = 12
_SHORT = "the stored data was shorter than the required size"


class Provider(Protocol):
    """One algorithm with one key.

    Attributes:
        prefix: What values that it wrote begin with; empty for none.
    """

    prefix: bytes

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return the cipher text, without the prefix, of a value stored at `key`."""

    def decrypt(self, data: bytes, key: bytes) -> bytes:
        """Return the value; `data` comes without the prefix.

        Raises:
            BadCiphertext: It was not written with this key, or not at this place.
        """


class Identity:
    """No encryption."""

    prefix = b""

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return the value itself."""
        return value

    def decrypt(self, data: bytes, key: bytes) -> bytes:
        """Return the data itself, unless it is encrypted."""
        if data.startswith(ENCRYPTED):
            raise BadCiphertext("identity transformer tried to read encrypted data")
        return data


class AesCbc:
    """AES in CBC mode with PKCS#7 padding; nothing tells that the data was changed.

    Args:
        name: Of the key.
        secret: 16, 24 or 32 bytes.
    """

    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aescbc:v1:%b:" % name.encode()
        self._algorithm = algorithms.AES(secret)

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return the initialization vector and the blocks."""
        vector = os.urandom(_BLOCK)
        padder = padding.PKCS7(_BLOCK * 8).padder()
        encryptor = Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        return vector + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def decrypt(self, data: bytes, key: bytes) -> bytes:
        """Return the value."""
        if len(data) < 2 * _BLOCK:
            raise BadCiphertext(_SHORT)
        if len(data) % _BLOCK:
            raise BadCiphertext("the stored data is not a multiple of the block size")
        decryptor = Cipher(self._algorithm, modes.CBC(data[:_BLOCK])).decryptor()
        unpadder = padding.PKCS7(_BLOCK * 8).unpadder()
        try:
            plain = decryptor.update(data[_BLOCK:]) + decryptor.finalize()
            return unpadder.update(plain) + unpadder.finalize()
        except ValueError as err:
            raise BadCiphertext("invalid padding on input") from err


class AesGcm:
    """AES in GCM mode with a random nonce; a value belongs to the place that it was written to.

    Args:
        name: Of the key.
        secret: 16, 24 or 32 bytes.
    """

    def __init__(self, name: str, secret: bytes) -> None:
        self.prefix = b"k8s:enc:aesgcm:v1:%b:" % name.encode()
        self._cipher = AESGCM(secret)

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return the nonce, the cipher text and its tag."""
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, value, key)

    def decrypt(self, data: bytes, key: bytes) -> bytes:
        """Return the value."""
        if len(data) < _NONCE:
            raise BadCiphertext(_SHORT)
        try:
            return self._cipher.decrypt(data[:_NONCE], data[_NONCE:], key)
        except InvalidTag as err:
            raise BadCiphertext("cipher: message authentication failed") from err


class SecretBox:
    """XSalsa20 with Poly1305, as NaCl's secretbox.

    Args:
        name: Of the key.
        secret: 32 bytes.
    """

    def __init__(self, name: str, secret: bytes) -> None:
        from nacl.secret import SecretBox as Box  # imported by those who configure it alone

        self.prefix = b"k8s:enc:secretbox:v1:%b:" % name.encode()
        self._box = Box(secret)

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return the nonce and the box."""
        return bytes(self._box.encrypt(value))

    def decrypt(self, data: bytes, key: bytes) -> bytes:
        """Return the value."""
        from nacl.exceptions import CryptoError

        try:
            return bytes(self._box.decrypt(data))
        except (CryptoError, ValueError) as err:
            raise BadCiphertext("the stored data does not belong to this key") from err


class Providers:
    """The providers of a resource: the first one writes, all of them read.

    Args:
        providers: In order; at least one.
    """

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._providers = tuple(providers)
        self._writer = self._providers[0]

    @property
    def prefix(self) -> bytes:
        """What freshly written values begin with."""
        return self._writer.prefix

    def is_reader(self, prefix: bytes) -> bool:
        """Return whether one of them reads what begins with `prefix`."""
        return any(one.prefix == prefix for one in self._providers)

    def encrypt(self, value: bytes, key: bytes) -> bytes:
        """Return a value as it is stored at `key`."""
        return self._writer.prefix + self._writer.encrypt(value, key)

    def decrypt(self, data: bytes, key: bytes) -> tuple[bytes, bytes]:
        """Return the value stored as `data` at `key`, and the prefix of what wrote it.

        Raises:
            Undecryptable: None of the providers can read it.
        """
        reasons = []
        for provider in self._providers:
            prefix = provider.prefix
            if not data.startswith(prefix):
                continue
            try:
                return provider.decrypt(data[len(prefix) :], key), prefix
            except BadCiphertext as err:
                if prefix:
                    reasons.append(str(err))
        raise Undecryptable(
            key, ", ".join(reasons) or "the provided value does not match any of the supported transformers"
        )


PLAIN = Providers((Identity(),))
