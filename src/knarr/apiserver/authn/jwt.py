"""Signed tokens: JWS in compact form with ES256 or RS256, and the keys as JWKs.

`cryptography` has everything that matters; what is left is two encodings, less than the interface of a JWT library would
be, and without the algorithm negotiation by which such libraries have been fooled: the key decides the algorithm.

Source: RFC 7515 (JWS), RFC 7517 (JWK), RFC 7518 section 3.4 (ES256 signatures).
"""

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature as WrongSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature

from knarr.apiserver.authn.errors import InvalidSignature, InvalidToken

_P256_BYTES = 32
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class VerifyingKey:
    """A public key with the id and algorithm that tokens name it by.

    Args:
        key: P-256 or RSA.
    """

    def __init__(self, key: PublicKey) -> None:
        self._key = key
        self.algorithm = "ES256" if isinstance(key, ec.EllipticCurvePublicKey) else "RS256"
        der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.id = encode(hashlib.sha256(der).digest())

    def is_valid(self, data: bytes, signature: bytes) -> bool:
        """Return whether this key's owner signed `data`."""
        try:
            if isinstance(self._key, rsa.RSAPublicKey):
                self._key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
                return True
            if len(signature) != 2 * _P256_BYTES:
                return False
            r, s = signature[:_P256_BYTES], signature[_P256_BYTES:]
            der = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
            self._key.verify(der, data, ec.ECDSA(hashes.SHA256()))
        except WrongSignature:
            return False
        return True

    def to_jwk(self) -> dict[str, str]:
        """Return the key as a JSON Web Key."""
        common = {"use": "sig", "kid": self.id, "alg": self.algorithm}
        if isinstance(self._key, rsa.RSAPublicKey):
            numbers = self._key.public_numbers()
            return {**common, "kty": "RSA", "n": _encode_int(numbers.n), "e": _encode_int(numbers.e)}
        point = self._key.public_numbers()
        x, y = (encode(value.to_bytes(_P256_BYTES, "big")) for value in (point.x, point.y))
        return {**common, "kty": "EC", "crv": "P-256", "x": x, "y": y}


class SigningKey:
    """A private key that signs tokens.

    Args:
        key: P-256 or RSA.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public = VerifyingKey(key.public_key())

    @classmethod
    def load(cls, pem: bytes) -> "SigningKey":
        """Read an unencrypted private key.

        Raises:
            ValueError: It is neither P-256 nor RSA.
        """
        key = serialization.load_pem_private_key(pem, password=None)
        if isinstance(key, rsa.RSAPrivateKey) or (
            isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1)
        ):
            return cls(key)
        raise ValueError(f"the key that signs tokens is a {type(key).__name__}; expected RSA or P-256")

    def sign(self, claims: Mapping[str, Any]) -> str:
        """Return the token that makes these claims."""
        header = {"alg": self.public.algorithm, "kid": self.public.id}
        data = f"{encode(msgspec.json.encode(header))}.{encode(msgspec.json.encode(claims))}"
        return f"{data}.{encode(self._sign(data.encode()))}"

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_P256_BYTES, "big") + s.to_bytes(_P256_BYTES, "big")


def read(token: str) -> dict[str, Any] | None:
    """Return the claims of a token unverified, or None if it is no JWT."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = msgspec.json.decode(decode(parts[1]))
    except (msgspec.DecodeError, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def verify(token: str, keys: Sequence[VerifyingKey]) -> dict[str, Any]:
    """Return the claims of a token that one of `keys` signed.

    Raises:
        InvalidSignature: None of them did.
        InvalidToken: It is no JWT.
    """
    signed, _, tail = token.rpartition(".")
    try:
        header = msgspec.json.decode(decode(signed.partition(".")[0]))
        signature = decode(tail)
    except (msgspec.DecodeError, ValueError) as error:
        raise InvalidToken("the token is not a signed JWT") from error
    claims = read(token)
    if claims is None or not isinstance(header, dict) or is_critical(header):
        raise InvalidToken("the token is not a signed JWT")
    for key in keys:
        if header.get("alg") == key.algorithm and key.is_valid(signed.encode(), signature):
            return claims
    raise InvalidSignature


def is_critical(header: Mapping[str, Any]) -> bool:
    """Return whether a token must not be accepted by who does not know an extension; none is known here (RFC 7515, 4.1.11)."""
    return "crit" in header


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read base64url without padding.

    Raises:
        ValueError: It is not that.
    """
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise ValueError(f"not base64url: {len(text)} characters") from error


def _encode_int(value: int) -> str:
    return encode(value.to_bytes((value.bit_length() + 7) // 8, "big"))
