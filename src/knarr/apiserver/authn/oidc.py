"""Tokens of other issuers: JSON Web Tokens whose claims are mapped to users, by name or by CEL expressions.

Upstream counterpart: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from knarr.api.user import User
from knarr.apiserver.authn import jwks, jwt
from knarr.apiserver.authn.authenticator import Identified
from knarr.apiserver.authn.errors import InvalidToken
from knarr.kit import clock as clocks
from knarr.lang import cel

_NBF_LEEWAY_S = 300.0

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mapping:
    """Where a value comes from.

    Attributes:
        claim: The claim that holds it; empty for an expression.
        prefix: Stands before it.
        program: Gives it, from `claims`.
    """

    claim: str = ""
    prefix: str = ""
    program: cel.Program | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of claims or of a user.

    Attributes:
        program: Must give true; None compares a claim.
        message: What is said if it does not.
        claim: Compared.
        value: With this.
    """

    program: cel.Program | None = None
    message: str = ""
    claim: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """One issuer, as configured.

    Attributes:
        url: The `iss` claim.
        audiences: A token must be meant for one of them.
        claim_rules: Must hold of the claims.
        username: Where the name comes from.
        groups: Where groups come from; None for none.
        uid: Likewise.
        extra: Further facts, by key.
        user_rules: Must hold of the user.
    """

    url: str
    audiences: tuple[str, ...]
    claim_rules: Sequence[Rule] = ()
    username: Mapping
    groups: Mapping | None = None
    uid: Mapping | None = None
    extra: Sequence[tuple[str, cel.Program]] = ()
    user_rules: Sequence[Rule] = ()


class OidcTokens:
    """Tokens of one issuer.

    Args:
        issuer: As configured.
        keys: Of the issuer.
        clock: Tells whether a token has expired.
        audiences: Of the API server: for it all these tokens are meant.
    """

    def __init__(self, issuer: Issuer, keys: jwks.Keys, clock: clocks.Clock, audiences: tuple[str, ...]) -> None:
        self._issuer = issuer
        self._keys = keys
        self._clock = clock
        self._audiences = audiences

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return whom a token names, or None if another issuer made it.

        Raises:
            InvalidToken: It is wrong, or its issuer cannot be asked for its keys.
        """
        unverified = jwt.read(token)
        if unverified is None or unverified.get("iss") != self._issuer.url:
            return None
        claims = await self._keys.verify(token)
        self._check(claims)
        user = to_user(self._issuer, claims)
        common = tuple(one for one in audiences if one in self._audiences)
        return Identified(user, common) if common else None

    def _check(self, claims: Object) -> None:
        now = self._clock.now().timestamp()
        ends, starts = claims.get("exp"), claims.get("nbf", 0)
        if not isinstance(ends, int | float) or now > ends:
            raise InvalidToken("oidc: verify token: oidc: token is expired")
        if not isinstance(starts, int | float) or now + _NBF_LEEWAY_S < starts:
            raise InvalidToken("oidc: verify token: oidc: current time is before the nbf (not before) time")
        meant = claims.get("aud")
        listed = [meant] if isinstance(meant, str) else meant if isinstance(meant, list) else []
        if not any(one in listed for one in self._issuer.audiences):
            wanted = list(self._issuer.audiences)
            raise InvalidToken(f"oidc: verify token: oidc: expected audience in {wanted} got {listed}")


def to_user(issuer: Issuer, claims: Object) -> User:
    """Return the user that claims name.

    Raises:
        InvalidToken: A rule does not hold, or a claim is missing or of the wrong type.
    """
    for rule in issuer.claim_rules:
        if rule.program is not None:
            _require(rule, {"claims": claims})
        elif claims.get(rule.claim) != rule.value:
            raise InvalidToken(f"oidc: required claim {rule.claim} does not match: expected {rule.value!r}")
    name = _text(issuer.username, claims, "username")
    if not name:
        raise InvalidToken("oidc: username claim is empty")
    if issuer.username.claim == "email" and claims.get("email_verified", True) is not True:
        raise InvalidToken("oidc: email not verified")
    groups = _texts(issuer.groups, claims, "groups") if issuer.groups is not None else ()
    uid = _text(issuer.uid, claims, "uid") if issuer.uid is not None else ""
    extra = {}
    for key, program in issuer.extra:
        values = _as_texts(_evaluate(program, {"claims": claims}), key)
        if values:
            extra[key] = values
    user = User(name, groups, uid, extra)
    facts = {
        "username": name,
        "uid": uid,
        "groups": list(groups),
        "extra": {key: list(values) for key, values in extra.items()},
    }
    for rule in issuer.user_rules:
        _require(rule, {"user": facts})
    return user


def _text(mapping: Mapping, claims: Object, what: str) -> str:
    value = _evaluate(mapping.program, {"claims": claims}) if mapping.program is not None else claims.get(mapping.claim)
    if not isinstance(value, str):
        shown = f"claim {mapping.claim!r}" if mapping.claim else "expression"
        raise InvalidToken(f"oidc: {what}: the {shown} gives no string")
    return mapping.prefix + value if value else ""


def _texts(mapping: Mapping, claims: Object, what: str) -> tuple[str, ...]:
    if mapping.program is not None:
        return _as_texts(_evaluate(mapping.program, {"claims": claims}), what)
    if mapping.claim not in claims:
        return ()
    return tuple(mapping.prefix + one for one in _as_texts(claims[mapping.claim], what))


def _as_texts(value: Any, what: str) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if listed is None:
        return ()
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise InvalidToken(f"oidc: {what}: expected a string or a list of strings")
    return tuple(one for one in listed if one)


def _require(rule: Rule, variables: Object) -> None:
    assert rule.program is not None
    if _evaluate(rule.program, variables) is not True:
        raise InvalidToken(f"oidc: {rule.message or 'a validation rule does not hold'}")


def _evaluate(program: cel.Program, variables: Object) -> Any:
    try:
        return program.evaluate(variables)
    except cel.CelError as err:
        raise InvalidToken(f"oidc: error evaluating expression: {err}") from err
