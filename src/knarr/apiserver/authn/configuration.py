"""The file that says whose tokens are accepted: AuthenticationConfiguration of apiserver.config.k8s.io.

Source: k8s.io/apiserver/pkg/apis/apiserver/{types.go,validation/validation.go} (v1.37).
"""

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knarr.api import codec
from knarr.apiserver.authn import jwks, oidc
from knarr.apiserver.authn.errors import BadConfiguration
from knarr.kit import clock as clocks
from knarr.lang import cel
from knarr.lang.cel.declarations import DYN, STRING, Decl

GROUP = "apiserver.config.k8s.io"
VERSIONS = (f"{GROUP}/v1", f"{GROUP}/v1beta1", f"{GROUP}/v1alpha1")
_STRINGS = Decl("list", element=STRING)
_CLAIMS = {"claims": Decl("map", element=DYN)}
_USER = {
    "user": Decl(
        "object",
        fields={"username": STRING, "uid": STRING, "groups": _STRINGS, "extra": Decl("map", element=_STRINGS)},
        names={name: name for name in ("username", "uid", "groups", "extra")},
    )
}

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Authentication:
    """What the file says.

    Attributes:
        issuers: Whose tokens are accepted, with their keys.
        anonymous: Whether requests without credentials are let in; None leaves it to the flag.
        anonymous_paths: The only paths at which they are; empty means all.
    """

    issuers: tuple[tuple[oidc.Issuer, jwks.Keys], ...] = ()
    anonymous: bool | None = None
    anonymous_paths: tuple[str, ...] = ()


def load(path: Path, clock: clocks.Clock, own_issuer: str = "") -> Authentication:
    """Read a configuration file.

    Args:
        path: The file.
        clock: Times the keys.
        own_issuer: Of service account tokens; nobody else may have it.

    Raises:
        BadConfiguration: It cannot be used.
    """
    try:
        config = codec.decode(path.read_bytes(), codec.YAML)
        if config.get("kind") != "AuthenticationConfiguration" or config.get("apiVersion") not in VERSIONS:
            raise ValueError(f"expected kind AuthenticationConfiguration in {VERSIONS[0]}")
        return _read(config, clock, own_issuer)
    except OSError as err:
        raise BadConfiguration(path, err.strerror or str(err)) from err
    except (codec.BadBody, cel.CompileError, ValueError, ssl.SSLError) as err:
        raise BadConfiguration(path, str(err)) from err
    except (TypeError, AttributeError, KeyError) as err:
        raise BadConfiguration(path, f"a field is missing or has the wrong type: {err}") from err


def _read(config: Object, clock: clocks.Clock, own_issuer: str) -> Authentication:
    issuers, seen = [], {own_issuer}
    for index, entry in enumerate(config.get("jwt") or ()):
        where = f"jwt[{index}]"
        issuer = _issuer(entry, where)
        if issuer.url in seen:
            raise ValueError(f'{where}.issuer.url: Invalid value: "{issuer.url}": must be used by nobody else')
        seen.add(issuer.url)
        given = entry["issuer"]
        discovery = given.get("discoveryURL") or issuer.url.rstrip("/") + jwks.WELL_KNOWN
        authority = given.get("certificateAuthority") or None
        tls = ssl.create_default_context(cadata=authority) if authority else None
        issuers.append((issuer, jwks.Keys(issuer.url, discovery, tls, clock)))
    anonymous = config.get("anonymous")
    if anonymous is None:
        return Authentication(tuple(issuers))
    paths = tuple(one["path"] for one in anonymous.get("conditions") or ())
    if paths and not anonymous.get("enabled"):
        raise ValueError(
            "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined"
        )
    return Authentication(tuple(issuers), bool(anonymous.get("enabled")), paths)


def _issuer(entry: Object, where: str) -> oidc.Issuer:
    given = entry.get("issuer") or {}
    url = given.get("url") or ""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise ValueError(
            f'{where}.issuer.url: Invalid value: "{url}": URL scheme must be https, without user, query or fragment'
        )
    audiences = tuple(given.get("audiences") or ())
    if not audiences or not all(audiences):
        raise ValueError(f"{where}.issuer.audiences: Required value: at least one {where}.issuer.audiences is required")
    if len(audiences) > 1 and given.get("audienceMatchPolicy") != "MatchAny":
        raise ValueError(f"{where}.issuer.audienceMatchPolicy: must be MatchAny for multiple audiences")
    of_claims, of_user = cel.Environment(_CLAIMS), cel.Environment(_USER)
    mappings = entry.get("claimMappings") or {}
    username = _mapping(mappings.get("username"), of_claims, f"{where}.claimMappings.username", prefixed=True)
    if username is None:
        raise ValueError(f"{where}.claimMappings.username: Required value: claim or expression is required")
    claim_rules = tuple(
        _rule(one, of_claims, f"{where}.claimValidationRules[{index}]")
        for index, one in enumerate(entry.get("claimValidationRules") or ())
    )
    extra = tuple(
        _extra(one, of_claims, f"{where}.claimMappings.extra[{index}]")
        for index, one in enumerate(mappings.get("extra") or ())
    )
    checking = [rule.program for rule in claim_rules] + [program for _, program in extra]
    if _uses(username.program, "email") and not any(
        _uses(one, "email_verified") for one in (username.program, *checking)
    ):
        raise ValueError(
            f"{where}.claimMappings.username.expression: Invalid value: claims.email_verified must be used in "
            "claimMappings.username.expression or claimMappings.extra[*].valueExpression or "
            "claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression"
        )
    return oidc.Issuer(
        url=url,
        audiences=audiences,
        claim_rules=claim_rules,
        username=username,
        groups=_mapping(mappings.get("groups"), of_claims, f"{where}.claimMappings.groups", prefixed=True),
        uid=_mapping(mappings.get("uid"), of_claims, f"{where}.claimMappings.uid"),
        extra=extra,
        user_rules=tuple(
            _rule(one, of_user, f"{where}.userValidationRules[{index}]")
            for index, one in enumerate(entry.get("userValidationRules") or ())
        ),
    )


def _uses(program: cel.Program | None, claim: str) -> bool:
    """Return whether an expression looks at a claim, by its name or as an index."""
    if program is None:
        return False
    for node in program.tree.root.walk():
        of_claims = bool(node.operands) and node.operands[0].kind == "ident" and node.operands[0].name == "claims"
        if of_claims and node.kind == "select" and node.name == claim:
            return True
        if of_claims and len(node.operands) == 2 and node.operands[1].value == claim:
            return True
    return False


def _mapping(
    given: Object | None, environment: cel.Environment, where: str, *, prefixed: bool = False
) -> oidc.Mapping | None:
    claim, expression = (given or {}).get("claim") or "", (given or {}).get("expression") or ""
    if claim and expression:
        raise ValueError(f"{where}: Invalid value: claim and expression can't both be set")
    if expression:
        if (given or {}).get("prefix") is not None:
            raise ValueError(f"{where}.prefix: Invalid value: prefix can't be set when expression is set")
        return oidc.Mapping(program=environment.compile(expression))
    if not claim:
        return None
    prefix = (given or {}).get("prefix")
    if prefixed and prefix is None:
        raise ValueError(
            f"{where}.prefix: Required value: prefix is required when claim is set. It can be set to an empty string"
        )
    return oidc.Mapping(claim, prefix or "")


def _rule(given: Object, environment: cel.Environment, where: str) -> oidc.Rule:
    claim, expression = given.get("claim") or "", given.get("expression") or ""
    if bool(claim) == bool(expression):
        raise ValueError(f"{where}: Invalid value: exactly one of claim and expression must be set")
    if claim:
        return oidc.Rule(claim=claim, value=given.get("requiredValue") or "")
    return oidc.Rule(environment.compile(expression), given.get("message") or "")


def _extra(given: Object, environment: cel.Environment, where: str) -> tuple[str, cel.Program]:
    key = given.get("key") or ""
    if not key or key != key.lower() or "/" not in key:
        raise ValueError(
            f'{where}.key: Invalid value: "{key}": must be a domain-prefix path (such as "acme.io/foo"), lower case'
        )
    return key, environment.compile(given.get("valueExpression") or "")
