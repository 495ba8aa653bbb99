"""Issues service account tokens, and tells the world how to verify them.

Upstream counterpart: pkg/registry/core/serviceaccount/storage/token.go and pkg/serviceaccount/{claims,openidmetadata}.go (v1.37).
"""

import secrets
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric import ec

from knarr.api import errors
from knarr.api.field import FieldError, Path, invalid
from knarr.apiserver.authn import claims as tokenclaims
from knarr.apiserver.authn import jwt
from knarr.apiserver.authn.claims import Bound, Object, Reference
from knarr.apiserver.config import Config
from knarr.kit.clock import Clock

MIN_SECONDS = 600
MAX_SECONDS = 2**32
DEFAULT_SECONDS = 3600
_GROUP, _KIND = "authentication.k8s.io", "TokenRequest"
LEGACY_ISSUER = "kubernetes/serviceaccount"
LEGACY_CLAIMS = tuple(
    f"kubernetes.io/serviceaccount/{name}"
    for name in ("namespace", "secret.name", "service-account.name", "service-account.uid")
)
_RESOURCES = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class Issuer:
    """Signs tokens for service accounts.

    Args:
        key: Signs.
        url: The `iss` claim.
        audiences: For whom a token is meant that does not say.
        jwks_uri: Where `jwks()` can be fetched.
        registry: Has the objects to which tokens are bound.
        clock: Tells when a token starts.
    """

    def __init__(
        self,
        key: jwt.SigningKey,
        url: str,
        audiences: tuple[str, ...],
        *,
        jwks_uri: str,
        registry: tokenclaims.Reader,
        clock: Clock,
    ) -> None:
        self.url = url
        self.audiences = audiences
        self._key = key
        self._jwks_uri = jwks_uri
        self._registry = registry
        self._clock = clock

    @property
    def keys(self) -> tuple[jwt.VerifyingKey, ...]:
        """The keys that verify its tokens."""
        return (self._key.public,)

    async def issue(self, request: Object, account: Object) -> Object:
        """Answer a TokenRequest.

        Args:
            request: Decoded, with defaults; it is changed.
            account: The ServiceAccount.

        Returns:
            The request with its status.

        Raises:
            Invalid: The lifetime is too short or too long.
            BadRequest: Tokens cannot be bound to such an object, or it belongs to another account.
            NotFound: The object to bind to does not exist.
            Conflict: It has another uid.
        """
        namespace, name = account["metadata"]["namespace"], account["metadata"]["name"]
        spec = request.setdefault("spec", {})
        seconds = spec.setdefault("expirationSeconds", DEFAULT_SECONDS)
        problems = _check_lifetime(seconds)
        if problems:
            raise errors.Invalid(_GROUP, _KIND, "", problems)
        account_reference = Reference(name, account["metadata"].get("uid", ""))
        bound = self._bind(spec.get("boundObjectRef"), namespace, account_reference)
        if not spec.get("audiences"):
            spec["audiences"] = list(self.audiences)
        token, ends = self._sign(bound, tuple(spec["audiences"]), seconds)
        metadata = request.setdefault("metadata", {})
        metadata["name"], metadata["namespace"] = name, namespace
        metadata["creationTimestamp"] = _format_time(self._clock.now())
        request["status"] = {"token": token, "expirationTimestamp": _format_time(ends)}
        return request

    def issue_legacy(self, account: Object, secret: str) -> str:
        """Return the token of a Secret, valid as long as the Secret is there.

        Args:
            account: The ServiceAccount.
            secret: The Secret's name.
        """
        metadata = account["metadata"]
        values = (metadata["namespace"], secret, metadata["name"], metadata["uid"])
        subject = tokenclaims.user_name(metadata["namespace"], metadata["name"])
        return self._key.sign({"iss": LEGACY_ISSUER, "sub": subject, **dict(zip(LEGACY_CLAIMS, values, strict=True))})

    def jwks(self) -> Object:
        """Return the keys that verify its tokens, as a JSON Web Key Set."""
        return {"keys": [key.to_jwk() for key in self.keys]}

    def openid_configuration(self) -> Object:
        """Return the OpenID provider's configuration."""
        return {
            "issuer": self.url,
            "jwks_uri": self._jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": sorted({key.algorithm for key in self.keys}),
        }

    def _bind(self, reference: Object | None, namespace: str, account: Reference) -> Bound:
        if reference is None:
            return Bound(namespace, account)
        group, _, version = (reference.get("apiVersion") or "").rpartition("/")
        kind, name, uid = reference.get("kind") or "", reference.get("name") or "", reference.get("uid") or ""
        resource = _RESOURCES.get(kind) if not group else None
        if resource is None:
            raise errors.BadRequest(f"cannot bind token to object of type {group}/{version}, Kind={kind}")
        found = self._registry.get(resource, "" if kind == "Node" else namespace, name)
        if found is None:
            raise errors.NotFound("", resource, name)
        spec, actual = found.get("spec") or {}, found["metadata"].get("uid", "")
        if kind == "Pod" and spec.get("serviceAccountName", "") != account.name:
            words = "to pod running with different serviceaccount name."
            raise errors.BadRequest(f'cannot bind token for serviceaccount "{account.name}" {words}')
        if uid and uid != actual:
            why = (
                f"the UID in the bound object reference ({uid}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise errors.Conflict("", kind, name, why)
        one = Reference(name, actual)
        if kind == "Secret":
            return Bound(namespace, account, secret=one)
        if kind == "Node":
            return Bound(namespace, account, node=one)
        return Bound(namespace, account, pod=one, node=self._node_of(spec))

    def _node_of(self, pod_spec: Object) -> Reference | None:
        name = pod_spec.get("nodeName")
        if not name:
            return None
        node = self._registry.get("nodes", "", name)
        return Reference(name, node["metadata"].get("uid", "") if node else "")

    def _sign(self, bound: Bound, audiences: tuple[str, ...], seconds: int) -> tuple[str, datetime]:
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "aud": list(audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.url,
            # From the system's randomness, not from the seeded one: a credential's id must not be guessed.
            "jti": str(UUID(bytes=secrets.token_bytes(16), version=4)),
            tokenclaims.PRIVATE: bound.to_claim(),
            "nbf": now,
            "sub": tokenclaims.user_name(bound.namespace, bound.account.name),
        }
        return self._key.sign(claims), datetime.fromtimestamp(now + seconds, UTC)


def build(config: Config, registry: tokenclaims.Reader) -> Issuer:
    """Make the issuer that the configuration describes; without a signing key it makes one that ends with the process."""
    if config.signing_key is None:
        key = jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))
    else:
        key = jwt.SigningKey.load(config.signing_key.read_bytes())
    port = config.advertise_port or config.port
    authority = f"{config.advertise_address}:{port}" if port else config.advertise_address
    return Issuer(
        key,
        config.issuer,
        config.audiences or (config.issuer,),
        jwks_uri=f"https://{authority}/openid/v1/jwks",
        registry=registry,
        clock=config.clock,
    )


def _check_lifetime(seconds: Any) -> list[FieldError]:
    path = Path("spec").child("expirationSeconds")
    problems = []
    if seconds < MIN_SECONDS:
        problems.append(invalid(path, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > MAX_SECONDS:
        problems.append(invalid(path, seconds, "may not specify a duration larger than 2^32 seconds"))
    return problems


def _format_time(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
