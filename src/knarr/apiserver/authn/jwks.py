"""The public keys of a token issuer: found through its discovery document, kept, and fetched again when a token names an unknown one.

Source: OpenID Connect Discovery 1.0, RFC 7517 (JWK), RFC 7518 (algorithms).
"""

import asyncio
import binascii
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from knarr.apiserver.authn import jwt
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit import clock as clocks
from knarr.kit.http import client as http_client
from knarr.kit.http.errors import HttpError
from knarr.kit.http.messages import Headers, Request

WELL_KNOWN = "/.well-known/openid-configuration"
AGAIN_S = 10.0
"""Keys are fetched at most this often."""
TIMEOUT_S = 10.0
MAX_BYTES = 1 << 20
_HASHES: Mapping[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
_CURVES: Mapping[str, tuple[ec.EllipticCurve, str]] = {
    "P-256": (ec.SECP256R1(), "ES256"),
    "P-384": (ec.SECP384R1(), "ES384"),
    "P-521": (ec.SECP521R1(), "ES512"),
}
_RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A public key.

    Attributes:
        id: The `kid` that tokens name it by; may be empty.
        key: RSA or elliptic curve.
        algorithms: With which it may have signed.
    """

    id: str
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    algorithms: tuple[str, ...]

    def is_valid(self, algorithm: str, data: bytes, signature: bytes) -> bool:
        """Return whether this key's owner signed `data` with an algorithm."""
        if algorithm not in self.algorithms:
            return False
        digest = _HASHES[algorithm[2:]]
        try:
            if isinstance(self.key, rsa.RSAPublicKey):
                salted = padding.PSS(padding.MGF1(digest), digest.digest_size)
                self.key.verify(signature, data, salted if algorithm.startswith("PS") else padding.PKCS1v15(), digest)
                return True
            size = (self.key.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            self.key.verify(encode_dss_signature(r, s), data, ec.ECDSA(digest))
        except InvalidSignature:
            return False
        return True


class Keys:
    """The keys of one issuer.

    Args:
        issuer: The `iss` claim.
        discovery_url: Where its discovery document is.
        tls: Verifies its server.
        clock: The time.
    """

    def __init__(self, issuer: str, discovery_url: str, tls: ssl.SSLContext | None, clock: clocks.Clock) -> None:
        self._issuer = issuer
        self._discovery_url = discovery_url
        self._tls = tls
        self._clock = clock
        self._keys: list[Key] = []
        self._fetched_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def verify(self, token: str) -> Object:
        """Return the claims of a token that one of the keys signed.

        Raises:
            InvalidToken: None did, or they cannot be fetched.
        """
        header, data, signature = _split(token)
        for is_fresh in (False, True):
            if is_fresh and not await self._fetch():
                break
            wanted = header.get("kid") or ""
            for key in self._keys:
                if (not wanted or key.id == wanted) and key.is_valid(str(header.get("alg")), data, signature):
                    claims = jwt.read(token)
                    if claims is not None:
                        return claims
        raise InvalidToken("oidc: verify token: failed to verify signature: failed to verify id token signature")

    async def _fetch(self) -> bool:
        """Fetch the keys, unless that was done just now; who comes while they are being fetched waits for them.

        Raises:
            InvalidToken: They cannot be fetched.
        """
        if self._fetching is None:
            now_s = self._clock.monotonic_s()
            if self._fetched_s is not None and now_s - self._fetched_s < AGAIN_S:
                return False
            self._fetched_s = now_s
            self._fetching = asyncio.create_task(self._fetch_now())
            self._fetching.add_done_callback(self._forget)
        await asyncio.shield(self._fetching)
        return True

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._fetching = None
        if not task.cancelled():
            task.exception()

    async def _fetch_now(self) -> None:
        document = await self._get(self._discovery_url)
        if document.get("issuer") != self._issuer:
            raise InvalidToken(f"oidc: issuer did not match the issuer returned by provider, expected {self._issuer!r}")
        listed = (await self._get(str(document.get("jwks_uri") or ""))).get("keys")
        found = listed if isinstance(listed, list) else ()
        self._keys = [key for one in found if isinstance(one, dict) and (key := read_key(one)) is not None]

    async def _get(self, url: str) -> Object:
        parts = urlsplit(url)
        if parts.scheme != "https" or not parts.hostname:
            raise InvalidToken(f"oidc: {url!r} is no https URL")
        client = http_client.Client(f"https://{parts.netloc}", tls=self._tls, max_idle=0)
        try:
            asked = Request("GET", parts.path or "/", parts.query, Headers({"accept": "application/json"}))
            response = await client.request(asked, timeout_s=TIMEOUT_S, max_body_bytes=MAX_BYTES)
            found = msgspec.json.decode(response.body) if isinstance(response.body, bytes) else None
        except (HttpError, msgspec.MsgspecError, ValueError) as err:
            raise InvalidToken(f"oidc: fetching {url}: {err}") from err
        finally:
            await client.aclose()
        if response.status != 200 or not isinstance(found, dict):
            raise InvalidToken(f"oidc: fetching {url}: HTTP {response.status}")
        return found


def read_key(jwk: Object) -> Key | None:
    """Return the key that a JSON Web Key holds, or None if it is of no use here."""
    if jwk.get("use", "sig") != "sig":
        return None
    try:
        if jwk.get("kty") == "RSA":
            numbers = rsa.RSAPublicNumbers(_integer(jwk["e"]), _integer(jwk["n"]))
            allowed: tuple[str, ...] = _RSA_ALGORITHMS
            key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey = numbers.public_key()
        elif jwk.get("kty") == "EC" and jwk.get("crv") in _CURVES:
            curve, algorithm = _CURVES[jwk["crv"]]
            key = ec.EllipticCurvePublicNumbers(_integer(jwk["x"]), _integer(jwk["y"]), curve).public_key()
            allowed = (algorithm,)
        else:
            return None
    except (KeyError, ValueError, TypeError, AttributeError, UnsupportedAlgorithm):
        return None
    if jwk.get("alg"):
        allowed = tuple(one for one in allowed if one == jwk["alg"])
    return Key(str(jwk.get("kid") or ""), key, allowed)


def _split(token: str) -> tuple[Object, bytes, bytes]:
    signed, _, tail = token.rpartition(".")
    try:
        header = msgspec.json.decode(jwt.decode(signed.partition(".")[0]))
        signature = jwt.decode(tail)
    except (msgspec.DecodeError, ValueError, binascii.Error) as err:
        raise InvalidToken("oidc: malformed jwt") from err
    if not isinstance(header, dict) or jwt.is_critical(header):
        raise InvalidToken("oidc: malformed jwt")
    return header, signed.encode(), signature


def _integer(text: str) -> int:
    return int.from_bytes(jwt.decode(text), "big")
