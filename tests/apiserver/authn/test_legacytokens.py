"""Tokens in Secrets: filled in, accepted, noted, and gone with their account."""

import asyncio
import base64
from pathlib import Path
from typing import Any

from knarr.apiserver.authn import jwt
from knarr.kit import pki
from knarr.kit.http.messages import Headers, Request
from tests.apiserver.conftest import Api, open_api

Object = dict[str, Any]

SECRETS = "/api/v1/namespaces/default/secrets"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"
TYPE = "kubernetes.io/service-account-token"  # a Secret's type, not a secret


def secret(name: str, account: str = "default", **annotations: str) -> Object:
    marks = {"kubernetes.io/service-account.name": account, **annotations}
    return {"metadata": {"name": name, "annotations": marks}, "type": TYPE}


async def settle() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


async def code(api: Api, token: str) -> int:
    fields = Headers({"authorization": f"Bearer {token}"})
    return (await api.server.handler(Request("GET", "/version", "", fields))).status


async def token_of(api: Api, name: str) -> str:
    await settle()
    found = await api.ok("GET", f"{SECRETS}/{name}")
    return base64.b64decode(found["data"]["token"]).decode()


async def test_a_secret_is_filled_in(
    tmp_path: Path,
) -> None:
    from datetime import UTC, datetime

    authority = pki.Authority.create("ca", now=datetime.now(UTC))
    (tmp_path / "ca.crt").write_bytes(authority.pair.certificate)
    async with open_api(client_ca=tmp_path / "ca.crt") as api:
        await api.ok("POST", SECRETS, secret("s"))
        await settle()
        found = await api.ok("GET", f"{SECRETS}/s")
        account = await api.ok("GET", f"{ACCOUNTS}/default")
        assert found["metadata"]["annotations"]["kubernetes.io/service-account.uid"] == account["metadata"]["uid"]
        assert base64.b64decode(found["data"]["namespace"]) == b"default"
        assert base64.b64decode(found["data"]["ca.crt"]) == authority.pair.certificate
        claims = jwt.read(await token_of(api, "s"))
        assert claims is not None
        assert claims["iss"] == "kubernetes/serviceaccount"
        assert claims["sub"] == "system:serviceaccount:default:default"
        assert claims["kubernetes.io/serviceaccount/secret.name"] == "s"
        body = {"metadata": {}, "spec": {"token": await token_of(api, "s")}}
        review = await api.ok("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)
        assert review["status"]["user"]["username"] == "system:serviceaccount:default:default"


async def test_its_use_is_noted_once_a_day(api: Api) -> None:
    await api.ok("POST", SECRETS, secret("s"))
    token = await token_of(api, "s")
    assert await code(api, token) == 200
    await settle()
    noted = await api.ok("GET", f"{SECRETS}/s")
    assert noted["metadata"]["labels"]["kubernetes.io/legacy-token-last-used"] == "2026-01-01"
    assert await code(api, token) == 200
    await settle()
    assert (await api.ok("GET", f"{SECRETS}/s"))["metadata"]["resourceVersion"] == noted["metadata"]["resourceVersion"]
    await api.clock.advance(86_400)
    assert await code(api, token) == 200
    await settle()
    labels = (await api.ok("GET", f"{SECRETS}/s"))["metadata"]["labels"]
    assert labels["kubernetes.io/legacy-token-last-used"] == "2026-01-02"


async def test_tokens_that_no_longer_hold(api: Api) -> None:
    for name in ("gone", "changed", "invalid"):
        await api.ok("POST", SECRETS, secret(name))
    gone, changed, invalid = [await token_of(api, name) for name in ("gone", "changed", "invalid")]
    assert [await code(api, token) for token in (gone, changed, invalid)] == [200, 200, 200]
    await api.ok("DELETE", f"{SECRETS}/gone")
    merge = "application/merge-patch+json"
    await api.ok("PATCH", f"{SECRETS}/changed", {"data": {"token": "eA=="}}, content_type=merge)
    labels = {"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}}}
    await api.ok("PATCH", f"{SECRETS}/invalid", labels, content_type=merge)
    assert [await code(api, token) for token in (gone, changed, invalid, changed[:-2])] == [401, 401, 401, 401]


async def test_a_secret_goes_with_its_account(api: Api) -> None:
    await api.ok("POST", ACCOUNTS, {"metadata": {"name": "ann"}})
    await api.ok("POST", SECRETS, secret("s", "ann"))
    token = await token_of(api, "s")
    for foreign in (secret("orphan", "nobody"), secret("other", "ann", **{"kubernetes.io/service-account.uid": "x"})):
        await api.ok("POST", SECRETS, foreign)
    await settle()
    for name in ("orphan", "other"):
        await api.fails(404, "GET", f"{SECRETS}/{name}")
    await api.ok("DELETE", f"{ACCOUNTS}/ann")
    assert await code(api, token) == 401
    await settle()
    await api.fails(404, "GET", f"{SECRETS}/s")


async def test_since_when_uses_are_noted(api: Api) -> None:
    await settle()
    path = "/api/v1/namespaces/kube-system/configmaps/kube-apiserver-legacy-service-account-token-tracking"
    assert (await api.ok("GET", path))["data"] == {"since": "2026-01-01"}
