"""Tokens that others issue: static ones, JSON Web Tokens of other issuers, and those that a webhook knows."""

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from knarr.api.user import User
from knarr.apiserver.authn import jwks, jwt
from knarr.apiserver.authn.configuration import load
from knarr.apiserver.authn.errors import BadConfiguration, InvalidToken
from knarr.apiserver.authn.oidc import to_user
from knarr.apiserver.authn.statictokens import StaticTokens
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Peer, Request, Response
from tests.apiserver.conftest import Api, decoded, open_api
from tests.apiserver.remote import Remote, open_remote, send_json

Object = dict[str, Any]

NOW_S = 1767225600  # FakeClock's start
AUDIENCES = ("https://kubernetes.default.svc.cluster.local",)
MAPPINGS: Object = {"username": {"claim": "sub", "prefix": "oidc:"}, "groups": {"claim": "roles", "prefix": ""}}


class Provider:
    """An issuer of tokens: its discovery document, its keys, and how often they were fetched."""

    def __init__(self) -> None:
        self.keys = [jwt.SigningKey(ec.generate_private_key(ec.SECP256R1()))]
        self.fetches = 0
        self.url = ""

    async def handle(self, request: Request) -> Response:
        if request.path.endswith(jwks.WELL_KNOWN):
            return send_json({"issuer": self.url, "jwks_uri": f"{self.url}/keys"})
        self.fetches += 1
        return send_json({"keys": [key.public.to_jwk() for key in self.keys]})

    def token(self, **claims: Any) -> str:
        made = {"iss": self.url, "aud": "my-app", "sub": "jane", "exp": NOW_S + 600, **claims}
        return self.keys[-1].sign({key: value for key, value in made.items() if value is not None})


def config(remote: Remote, **more: Any) -> Object:
    issuer = {
        "url": remote.url,
        "audiences": ["my-app"],
        "certificateAuthority": base64.b64decode(remote.bundle).decode(),
    }
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": [{"issuer": issuer, "claimMappings": MAPPINGS, **more}],
    }


@contextlib.asynccontextmanager
async def open_issuer(folder: Path, **more: Any) -> AsyncIterator[tuple[Api, Provider]]:
    provider = Provider()
    async with open_remote(folder, provider.handle) as remote:
        provider.url = remote.url
        path = folder / "authentication.yaml"
        path.write_text(yaml.safe_dump(config(remote, **more)))
        async with open_api(authentication=path) as api:
            yield api, provider


async def whoami(api: Api, token: str, path: str = "/apis/authentication.k8s.io/v1/selfsubjectreviews") -> Response:
    headers = Headers({"authorization": f"Bearer {token}", "content-type": "application/json"})
    body = b'{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1"}'
    return await api.server.handler(Request("POST", path, "", headers, body, Peer("192.0.2.1")))


async def test_claims_become_a_user(tmp_path: Path) -> None:
    async with open_issuer(tmp_path) as (api, provider):
        response = await whoami(api, provider.token(roles=["devs", "ops"]))
        assert response.status == 201, response.body
        assert decoded(response)["status"]["userInfo"] == {
            "username": "oidc:jane",
            "groups": ["devs", "ops", "system:authenticated"],
        }
        await whoami(api, provider.token())
        assert provider.fetches == 1


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "other"},
        {"aud": None},
        {"exp": NOW_S - 1},
        {"exp": None},
        {"nbf": NOW_S + 3600},
        {"sub": None},
        {"sub": ""},
        {"sub": 5},
        {"roles": [5]},
        {"iss": "https://other"},
    ],
)
async def test_wrong_claims_are_refused(tmp_path: Path, claims: Object) -> None:
    async with open_issuer(tmp_path) as (api, provider):
        assert (await whoami(api, provider.token(**claims))).status == 401


async def test_keys_are_fetched_again_when_one_is_unknown_and_not_too_often(tmp_path: Path) -> None:
    async with open_issuer(tmp_path) as (api, provider):
        assert (await whoami(api, provider.token())).status == 201
        provider.keys.append(jwt.SigningKey(ec.generate_private_key(ec.SECP256R1())))
        assert (await whoami(api, provider.token())).status == 401
        await api.clock.advance(11)
        assert (await whoami(api, provider.token())).status == 201
        assert provider.fetches == 2
        forger = Provider()
        forger.url = provider.url
        for _ in range(5):
            assert (await whoami(api, forger.token())).status == 401
        assert provider.fetches <= 3


async def test_who_comes_while_keys_are_fetched_waits_for_them(tmp_path: Path) -> None:
    async with open_issuer(tmp_path) as (api, provider):
        tokens = [provider.token(sub=f"user-{number}") for number in range(5)]
        responses = await asyncio.gather(*(whoami(api, token) for token in tokens))
        assert ([response.status for response in responses], provider.fetches) == ([201] * 5, 1)


async def test_extensions_that_nobody_knows_are_refused(tmp_path: Path) -> None:
    async with open_issuer(tmp_path) as (api, provider):
        header = {"alg": "ES256", "crit": ["b64"], "b64": False}
        body = provider.token().split(".")[1]
        signed = f"{jwt.encode(json.dumps(header).encode())}.{body}"
        token = f"{signed}.{jwt.encode(provider.keys[0]._sign(signed.encode()))}"
        assert (await whoami(api, provider.token())).status == 201
        assert (await whoami(api, token)).status == 401


async def test_an_issuer_that_is_not_there_is_401(tmp_path: Path) -> None:
    path = tmp_path / "authentication.yaml"
    path.write_text(
        yaml.safe_dump(config(Remote(1, "")) | {}).replace("certificateAuthority: ''", "certificateAuthority: null")
    )
    async with open_api(authentication=path) as api:
        provider = Provider()
        provider.url = "https://127.0.0.1:1"
        assert (await whoami(api, provider.token())).status == 401


EXPRESSIONS: Object = {
    "claimValidationRules": [{"expression": "claims.exp - claims.iat <= 3600", "message": "lives too long"},
                             {"expression": "claims.?email_verified.orValue(true)", "message": "no such mail"}],
    "claimMappings": {
        "username": {"expression": '"mail:" + claims.email'},
        "groups": {"expression": "claims.roles.split(',')"},
        "uid": {"claim": "sub"},
        "extra": [{"key": "example.com/tenant", "valueExpression": "claims.tenant"}],
    },
    "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"},
                            {"expression": "user.groups.all(g, g != 'admins')", "message": "no admins"}],
}  # fmt: skip
CLAIMS: Object = {
    "sub": "u1",
    "email": "j@example.com",
    "roles": "a,b",
    "tenant": "t",
    "iat": NOW_S,
    "exp": NOW_S + 600,
}


def issuer_of(folder: Path, **more: Any) -> Any:
    path = folder / "authentication.yaml"
    path.write_text(yaml.safe_dump(config(Remote(1, ""), **more)))
    return load(path, FakeClock()).issuers[0][0]


def test_expressions_map_and_check_claims(tmp_path: Path) -> None:
    issuer = issuer_of(tmp_path, **EXPRESSIONS)
    found = to_user(issuer, CLAIMS)
    assert found == User("mail:j@example.com", ("a", "b"), "u1", {"example.com/tenant": ("t",)})
    for wrong, words in (
        ({"exp": NOW_S + 9999}, "lives too long"),
        ({"roles": "admins"}, "no admins"),
        ({"email": 5}, "expression"),
        ({"email_verified": False}, "no such mail"),
    ):
        with pytest.raises(InvalidToken, match=words):
            to_user(issuer, {**CLAIMS, **wrong})


BAD = [
    ({"claimMappings": {}}, "username: Required value"),
    ({"claimMappings": {"username": {"claim": "sub"}}}, "prefix is required"),
    ({"claimMappings": {"username": {"claim": "sub", "prefix": "", "expression": "'x'"}}}, "can't both be set"),
    ({"claimMappings": {"username": {"expression": "claims..x"}}}, "yntax"),
    ({"claimMappings": {**MAPPINGS, "extra": [{"key": "Tenant", "valueExpression": "claims.t"}]}}, "domain-prefix"),
    ({"claimValidationRules": [{}]}, "exactly one"),
    ({"issuer": {"url": "http://a", "audiences": ["x"]}}, "must be https"),
    ({"issuer": {"url": "https://a"}}, "audiences: Required value"),
    ({"issuer": {"url": "https://a", "audiences": ["x", "y"]}}, "MatchAny"),
    ({"issuer": 5}, "wrong type"),
    ({"claimMappings": {"username": {"expression": "claims.email"}}}, "claims.email_verified must be used"),
    ({"claimMappings": {"username": {"expression": "claims['email']"}}}, "claims.email_verified must be used"),
]


@pytest.mark.parametrize(("more", "words"), BAD)
def test_files_that_cannot_be_used(tmp_path: Path, more: Object, words: str) -> None:
    with pytest.raises(BadConfiguration) as caught:
        issuer_of(tmp_path, **more)
    assert words in str(caught.value)


def test_keys_in_their_forms() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = jwt.VerifyingKey(key.public_key()).to_jwk()
    read = jwks.read_key(public)
    assert read is not None
    assert read.algorithms == ("RS256",)
    token = jwt.SigningKey(key).sign({"a": 1})
    data, _, tail = token.rpartition(".")
    assert read.is_valid("RS256", data.encode(), jwt.decode(tail))
    for algorithm in ("PS256", "ES256", "none", "HS256"):
        assert not read.is_valid(algorithm, data.encode(), jwt.decode(tail))
    for wrong in (
        {**public, "use": "enc"},
        {**public, "n": "!"},
        {**public, "kty": "oct"},
        {"kty": "EC", "crv": "P-256"},
        {},
    ):
        assert jwks.read_key(wrong) is None


async def test_anonymous_at_some_paths_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
    head = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    path.write_text(yaml.safe_dump({**head, "anonymous": anonymous}))
    async with open_api(authentication=path) as api:
        codes = [
            (await api.server.handler(Request("GET", where))).status for where in ("/livez", "/readyz", "/version")
        ]
    assert codes == [200, 401, 401]


def test_static_tokens(tmp_path: Path) -> None:
    path = tmp_path / "tokens.csv"
    path.write_text('t1,jane,u1,"devs,ops"\n\nt2,joe,u2\n')
    tokens = StaticTokens(path, AUDIENCES)
    found = tokens.authenticate("t1", AUDIENCES)
    assert found is not None
    assert found.user == User("jane", ("devs", "ops"), "u1")
    assert tokens.authenticate("t3", AUDIENCES) is None
    assert tokens.authenticate("t1", ("other",)) is None
    path.write_text("t1,jane\n")
    with pytest.raises(BadConfiguration, match="at least 3 columns"):
        StaticTokens(path, AUDIENCES)


async def test_a_webhook_knows_tokens_and_is_asked_once_in_a_while(tmp_path: Path) -> None:
    asked: list[Object] = []

    async def review(request: Request) -> Response:
        asked.append(json.loads(request.body))
        token = asked[-1]["spec"]["token"]
        if token == "broken":
            return Response(500)
        user = {"username": "jane", "groups": ["devs"], "extra": {"a": ["b"]}}
        return send_json({"status": {"authenticated": token == "good", "user": user}})

    async with open_remote(tmp_path, review) as remote:
        path = tmp_path / "webhook.yaml"
        cluster = {"server": f"{remote.url}/authenticate", "certificate-authority-data": remote.bundle}
        path.write_text(yaml.safe_dump({"clusters": [{"name": "a", "cluster": cluster}]}))
        async with open_api(token_webhook=path) as api:
            for _ in range(3):
                response = await whoami(api, "good")
                assert response.status == 201
            info = decoded(response)["status"]["userInfo"]
            assert info == {"username": "jane", "groups": ["devs", "system:authenticated"], "extra": {"a": ["b"]}}
            assert len(asked) == 1
            assert asked[0]["kind"] == "TokenReview"
            assert asked[0]["spec"]["audiences"] == list(AUDIENCES)
            for token in ("bad", "bad", "broken", "broken"):
                assert (await whoami(api, token)).status == 401
            assert len(asked) == 4
            await api.clock.advance(121)
            assert (await whoami(api, "good")).status == 201
            assert len(asked) == 5


@pytest.mark.parametrize(
    "status",
    [
        {"authenticated": "false", "user": {"username": "jane"}},
        {"authenticated": True, "user": {"username": "jane", "groups": "system:masters"}},
        {"authenticated": True, "user": {"username": "jane", "extra": {"a": "b"}}},
        {"authenticated": True, "user": {"username": 5}},
        {"authenticated": True, "user": {"username": "jane"}, "audiences": ["other"]},
        {"authenticated": True, "user": []},
        None,
    ],
)
async def test_answers_about_tokens_that_make_no_sense_name_nobody(tmp_path: Path, status: Any) -> None:
    async def answer(request: Request) -> Response:
        return send_json({"status": status})

    async with open_remote(tmp_path, answer) as remote:
        path = tmp_path / "webhook.yaml"
        cluster = {"server": f"{remote.url}/authenticate", "certificate-authority-data": remote.bundle}
        path.write_text(yaml.safe_dump({"clusters": [{"name": "a", "cluster": cluster}]}))
        async with open_api(token_webhook=path) as api:
            assert (await whoami(api, "good")).status == 401
