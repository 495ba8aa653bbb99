"""Service account tokens as credentials.

A signature is verified once; what a token is bound to is looked at each time, since it may be deleted at any moment.

Upstream counterpart: pkg/serviceaccount/jwt.go and pkg/serviceaccount/claims.go (v1.37).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from knarr.apiserver.authn import claims as tokenclaims
from knarr.apiserver.authn import jwt
from knarr.apiserver.authn.authenticator import Identified
from knarr.kit.clock import Clock

CACHED = 8192
"""Verified tokens remembered, by their hash."""


class ServiceAccountTokens:
    """Tokens that this cluster's issuer signed.

    Args:
        issuer: The `iss` claim; a token of any other issuer is not of this kind.
        keys: Any of them may have signed.
        registry: Has what tokens are bound to.
        clock: Tells whether a token has expired.
    """

    def __init__(
        self, issuer: str, keys: Sequence[jwt.VerifyingKey], registry: tokenclaims.Reader, clock: Clock
    ) -> None:
        self._issuer = issuer
        self._keys = tuple(keys)
        self._registry = registry
        self._clock = clock
        self._verified: OrderedDict[bytes, Mapping[str, Any]] = OrderedDict()

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return the service account, or None if the token is of another issuer.

        Raises:
            InvalidToken: Forged, expired, not meant for `audiences`, or what it is bound to is gone.
        """
        claims = self._verify(token)
        if claims is None:
            return None
        now = self._clock.now()
        tokenclaims.check_time(claims, now)
        common = tokenclaims.common_audiences(claims, audiences)
        bound = tokenclaims.read(claims)
        tokenclaims.check_bound(bound, self._registry, now)
        return Identified(tokenclaims.to_user(claims, bound), common)

    def _verify(self, token: str) -> Mapping[str, Any] | None:
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        known = self._verified.get(digest)
        if known is not None:
            self._verified.move_to_end(digest)
            return known
        unverified = jwt.read(token)
        if unverified is None or unverified.get("iss") != self._issuer:
            return None
        claims = jwt.verify(token, self._keys)
        self._verified[digest] = claims
        if len(self._verified) > CACHED:
            self._verified.popitem(last=False)
        return claims
