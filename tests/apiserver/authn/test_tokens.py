"""Service account tokens: issued, verified, and refused for every reason there is."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from knarr.api import errors
from knarr.apiserver.authn import jwt, reviews
from knarr.apiserver.authn.authenticator import Authenticator, Tokens
from knarr.apiserver.authn.bearer import Bearer
from knarr.apiserver.authn.errors import InvalidToken
from knarr.apiserver.authn.serviceaccounts import ServiceAccountTokens
from knarr.apiserver.authn.tokens import Issuer
from knarr.apiserver.registry import Registry
from knarr.kit.clock import FakeClock
from tests.apiserver.access import add, open_registry, user

URL = "https://issuer"
KEY = jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))
OTHER_KEY = jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))
POD = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "p-uid"}


class World:
    """An issuer and an authenticator over one registry with one account, pod and node."""

    def __init__(self, registry: Registry, clock: FakeClock) -> None:
        self.registry, self.clock = registry, clock
        self.issuer = Issuer(KEY, URL, (URL,), jwks_uri=f"{URL}/openid/v1/jwks", registry=registry, clock=clock)
        self.tokens = Tokens([ServiceAccountTokens(URL, self.issuer.keys, registry, clock)], (URL,))
        self.account: dict[str, Any] = {}

    async def fill(self) -> None:
        self.account = await add(self.registry, "serviceaccounts", "sa", "ns")
        await add(self.registry, "nodes", "n")
        await add(
            self.registry, "pods", "p", "ns", spec={"serviceAccountName": "sa", "nodeName": "n", "containers": []}
        )
        await add(self.registry, "pods", "foreign", "ns", spec={"serviceAccountName": "other", "containers": []})

    async def issue(self, **spec: Any) -> str:
        request = await self.issuer.issue({"spec": spec}, self.account)
        return str(request["status"]["token"])

    async def refusal(self, token: str, *audiences: str) -> str:
        try:
            await self.tokens.authenticate(token, audiences)
        except InvalidToken as error:
            return error.reason
        return ""


async def test_bound_token_names_account_pod_and_node() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        found = await world.tokens.authenticate(await world.issue(boundObjectRef=POD))
        assert found.user.name == "system:serviceaccount:ns:sa"
        assert found.user.uid == "sa-uid"
        assert found.user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
        extra = {key.rpartition("/")[2]: values for key, values in found.user.extra.items()}
        assert extra["credential-id"][0].startswith("JTI=")
        del extra["credential-id"]
        assert extra == {"pod-name": ("p",), "pod-uid": ("p-uid",), "node-name": ("n",), "node-uid": ("n-uid",)}
        assert found.audiences == (URL,)


def forged(token: str) -> str:
    claims = jwt.read(token)
    assert claims is not None
    return OTHER_KEY.sign(claims)


def altered(token: str) -> str:
    head, _, tail = token.split(".")
    claims = jwt.read(token)
    assert claims is not None
    claims["kubernetes.io"]["serviceaccount"]["name"] = "admin"
    return f"{head}.{jwt.encode(msgspec.json.encode(claims))}.{tail}"


def unsigned(token: str) -> str:
    header = jwt.encode(msgspec.json.encode({"alg": "none"}))
    return f"{header}.{token.split('.')[1]}."


def symmetric(token: str) -> str:
    # The classic attack: the public key as the secret of an HMAC.
    header = jwt.encode(msgspec.json.encode({"alg": "HS256"}))
    return f"{header}.{token.split('.')[1]}.{jwt.encode(b'x' * 32)}"


FORGERIES: list[tuple[Callable[[str], str], str]] = [
    (forged, "[invalid bearer token, the token is not signed with a known key]"),
    (altered, "[invalid bearer token, the token is not signed with a known key]"),
    (unsigned, "[invalid bearer token, the token is not signed with a known key]"),
    (symmetric, "[invalid bearer token, the token is not signed with a known key]"),
    (lambda token: token[:-8], "[invalid bearer token, the token is not signed with a known key]"),
    (lambda token: "a.b.c", "invalid bearer token"),
    (lambda token: "", "invalid bearer token"),
    (lambda token: "\udcff.é.x", "invalid bearer token"),
]


@pytest.mark.parametrize(("change", "reason"), FORGERIES)
async def test_forged_tokens_are_refused(change: Callable[[str], str], reason: str) -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        token = await world.issue(boundObjectRef=POD)
        assert await world.refusal(token) == ""
        assert await world.refusal(change(token)) == reason


async def test_expired_and_early_tokens_are_refused() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        token = await world.issue(expirationSeconds=600)
        claims = jwt.read(token)
        assert claims is not None
        early = KEY.sign({**claims, "nbf": claims["nbf"] + 60})
        assert "not valid yet" in await world.refusal(early)
        await clock.advance(599)
        assert await world.refusal(token) == ""
        await clock.advance(2)
        assert await world.refusal(token) == "[invalid bearer token, service account token has expired]"


async def test_audience_must_fit() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        token = await world.issue(audiences=["vault", "other"])
        assert "token audiences" in await world.refusal(token)
        assert await world.refusal(token, "vault") == ""
        assert (await world.tokens.authenticate(token, ("vault", URL))).audiences == ("vault",)


async def test_token_ends_with_what_it_is_bound_to() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        token = await world.issue(boundObjectRef=POD)
        unbound = await world.issue()
        assert await world.refusal(token) == ""
        pod = registry.get("pods", "ns", "p")
        assert pod is not None
        pod["metadata"]["deletionTimestamp"] = clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
        await registry.update("pods", pod)
        await clock.advance(59)
        assert await world.refusal(token) == ""
        await clock.advance(2)
        assert "invalidated" in await world.refusal(token)
        await registry.delete("pods", "ns", "p")
        assert 'pods "p" not found' in await world.refusal(token)
        await add(registry, "pods", "p", "ns", metadata={"uid": "again"}, spec={"serviceAccountName": "sa"})
        assert "pod UID (again) does not match claim (p-uid)" in await world.refusal(token)
        assert await world.refusal(unbound) == ""
        await registry.delete("serviceaccounts", "ns", "sa")
        assert 'serviceaccounts "sa" not found' in await world.refusal(unbound)


REQUESTS: list[tuple[dict[str, Any], type[errors.StatusError], str]] = [
    (
        {"expirationSeconds": 60},
        errors.Invalid,
        'TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 60: may not specify a '
        "duration less than 10 minutes",
    ),
    ({"expirationSeconds": 2**32 + 1}, errors.Invalid, "may not specify a duration larger than 2^32 seconds"),
    ({"boundObjectRef": {**POD, "name": "none"}}, errors.NotFound, 'pods "none" not found'),
    (
        {"boundObjectRef": {**POD, "name": "foreign", "uid": ""}},
        errors.BadRequest,
        'cannot bind token for serviceaccount "sa" to pod running with different serviceaccount name.',
    ),
    (
        {"boundObjectRef": {**POD, "uid": "wrong"}},
        errors.Conflict,
        'Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (wrong) does not match the UID in '
        "record. The object might have been deleted and then recreated",
    ),
    (
        {"boundObjectRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
        errors.BadRequest,
        "cannot bind token to object of type apps/v1, Kind=Deployment",
    ),
]


@pytest.mark.parametrize(("spec", "error", "message"), REQUESTS)
async def test_bad_token_requests(spec: dict[str, Any], error: type[errors.StatusError], message: str) -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        with pytest.raises(error) as caught:
            await world.issue(**spec)
        assert message in caught.value.message


async def test_request_is_completed() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        request = await world.issuer.issue({"spec": {}}, world.account)
        assert request["spec"] == {"expirationSeconds": 3600, "audiences": [URL]}
        ends = clock.now() + timedelta(hours=1)
        assert request["status"]["expirationTimestamp"] == ends.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("key", [KEY, jwt.SigningKey(rsa.generate_private_key(65537, 2048))], ids=["ES256", "RS256"])
def test_published_key_verifies(key: jwt.SigningKey) -> None:
    jwk = key.public.to_jwk()

    def number(name: str) -> int:
        return int.from_bytes(base64.urlsafe_b64decode(jwk[name] + "=="), "big")

    public: jwt.PublicKey
    if jwk["kty"] == "EC":
        public = ec.EllipticCurvePublicNumbers(number("x"), number("y"), ec.SECP256R1()).public_key()
    else:
        public = rsa.RSAPublicNumbers(number("e"), number("n")).public_key()
    assert jwt.verify(key.sign({"a": 1}), [jwt.VerifyingKey(public)]) == {"a": 1}


async def test_token_review() -> None:
    async with open_registry(clock := FakeClock()) as registry:
        world = World(registry, clock)
        await world.fill()
        authenticator = Authenticator([], world.tokens, Bearer(world.tokens))
        token = await world.issue()
        good = await reviews.review(authenticator, "tokenreviews", {"spec": {"token": token}}, user("x"))
        assert good["status"]["authenticated"]
        assert good["status"]["user"]["username"] == "system:serviceaccount:ns:sa"
        assert good["status"]["audiences"] == [URL]
        bad = await reviews.review(authenticator, "tokenreviews", {"spec": {"token": "x"}}, user("x"))
        assert bad["status"] == {"user": {}, "error": "invalid bearer token"}
        with pytest.raises(errors.BadRequest, match="token is required"):
            await reviews.review(authenticator, "tokenreviews", {"spec": {}}, user("x"))
        me = await reviews.review(authenticator, "selfsubjectreviews", {}, user("ann", "devs"))
        assert me["status"]["userInfo"] == {"username": "ann", "groups": ["devs", "system:authenticated"]}
