"""Who makes a request: certificates, front proxies, bearer and bootstrap tokens, impersonation, nobody."""

import base64
import contextlib
import datetime
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from knarr.api import errors
from knarr.api.user import User
from knarr.apiserver import authn
from knarr.apiserver.authn import tokens
from knarr.apiserver.authn.certificates import RELOAD_S
from knarr.apiserver.authz.authorizer import Authorizer
from knarr.apiserver.authz.rbac import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, Rbac
from knarr.apiserver.config import Config
from knarr.apiserver.registry import Registry
from knarr.apiserver.requestinfo import RequestInfo
from knarr.kit import pki
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Peer, Request
from knarr.store.memory import MemoryBackend
from tests.apiserver.access import add, open_registry, user

NOW = FakeClock().now()
CA, PROXY_CA, FOREIGN = (pki.Authority.create(name, now=NOW) for name in ("ca", "front-proxy-ca", "foreign"))
BOOTSTRAP = "abcdef.0123456789abcdef"


def der(authority: pki.Authority, name: str, *groups: str, usage: pki.Usage = pki.Usage.CLIENT) -> bytes:
    pair = authority.issue(pki.Subject(name, groups), [usage], now=NOW, lifetime=datetime.timedelta(days=1))
    return x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)


def request(certificate: bytes | None = None, **headers: str) -> Request:
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Request("GET", "/api", headers=Headers(fields), peer=Peer("10.0.0.1", certificate))


class World:
    """An authenticator over a registry."""

    def __init__(self, registry: Registry, clock: FakeClock, folder: Path) -> None:
        for name, authority in (("ca", CA), ("proxy", PROXY_CA)):
            (folder / name).write_bytes(authority.pair.certificate)
        config = Config(
            backend=MemoryBackend(),
            clock=clock,
            client_ca=folder / "ca",
            front_proxy_ca=folder / "proxy",
            issuer="https://i",
        )
        self.registry, self.clock = registry, clock
        self.issuer = tokens.build(config, registry)
        self.authenticator = authn.build(config, registry, self.issuer)


@contextlib.asynccontextmanager
async def open_world(folder: Path) -> AsyncIterator[World]:
    async with open_registry(clock := FakeClock()) as registry:
        yield World(registry, clock, folder)


async def who(world: World, asked: Request) -> str:
    try:
        found = await world.authenticator.authenticate(asked)
    except errors.Unauthorized as error:
        return str(error.code)
    return f"{found.name} {' '.join(found.groups)}"


CERTIFICATES = [
    (None, "system:anonymous system:unauthenticated"),
    (der(CA, "ann", "devs", "ops"), "ann devs ops system:authenticated"),
    (der(FOREIGN, "ann"), "system:anonymous system:unauthenticated"),
    (der(PROXY_CA, "ann", "system:masters"), "system:anonymous system:unauthenticated"),
    (der(CA, "ann", usage=pki.Usage.SERVER), "system:anonymous system:unauthenticated"),
]


@pytest.mark.parametrize(("certificate", "expected"), CERTIFICATES)
async def test_client_certificates(certificate: bytes | None, expected: str, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        assert await who(world, request(certificate)) == expected


async def test_certificate_ends_on_an_old_connection(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        certificate = der(CA, "ann")
        assert (await who(world, request(certificate))).startswith("ann")
        await world.clock.advance(2 * 86400)
        assert (await who(world, request(certificate))).startswith("system:anonymous")


async def test_a_new_authority_counts_from_then_on_and_the_old_one_no_more(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        old, new = der(CA, "ann"), der(FOREIGN, "bob")
        assert (await who(world, request(old))).startswith("ann")
        (tmp_path / "ca").write_bytes(b"damaged")
        await world.clock.advance(RELOAD_S)
        assert (await who(world, request(old))).startswith("ann")
        (tmp_path / "ca").write_bytes(FOREIGN.pair.certificate)
        await world.clock.advance(RELOAD_S)
        assert (await who(world, request(new))).startswith("bob")
        assert (await who(world, request(old))).startswith("system:anonymous")


REMOTE = {"X_Remote_User": "bob", "X_Remote_Group": "devs", "X_Remote_Extra_Acme.com%2fx": "1"}


async def test_front_proxy_speaks_for_users(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        asked = request(der(PROXY_CA, "front-proxy-client"), **REMOTE)
        found = await world.authenticator.authenticate(asked)
        assert found == User("bob", ("devs", "system:authenticated"), "", {"acme.com/x": ("1",)})
        assert not [name for name, _ in asked.headers if name.startswith("x-remote")]


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        (None, "system:anonymous system:unauthenticated"),
        (der(CA, "front-proxy-client"), "front-proxy-client system:authenticated"),
        (der(PROXY_CA, "somebody-else"), "system:anonymous system:unauthenticated"),
        (der(FOREIGN, "front-proxy-client"), "system:anonymous system:unauthenticated"),
    ],
)
async def test_smuggled_front_proxy_headers_mean_nothing(
    certificate: bytes | None, expected: str, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world:
        assert await who(world, request(certificate, **REMOTE)) == expected


def bootstrap_secret(**change: str) -> dict[str, Any]:
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "expiration": "2026-01-01T01:00:00Z",
        "auth-extra-groups": "system:bootstrappers:kubeadm:default-node-token",
        **change,
    }
    return {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}


BOOTSTRAPPER = (
    "system:bootstrap:abcdef system:bootstrappers system:bootstrappers:kubeadm:default-node-token system:authenticated"
)
TOKENS: list[tuple[str, dict[str, str], str]] = [
    (f"Bearer {BOOTSTRAP}", {}, BOOTSTRAPPER),
    (f"bearer  {BOOTSTRAP}", {}, BOOTSTRAPPER),
    ("Bearer abcdef.0123456789abcdee", {}, "401"),
    ("Bearer nobody", {}, "401"),
    ("Bearer ", {}, "system:anonymous system:unauthenticated"),
    ("Basic YTpi", {}, "system:anonymous system:unauthenticated"),
    (f"Bearer {BOOTSTRAP}", {"usage-bootstrap-authentication": "false"}, "401"),
    (f"Bearer {BOOTSTRAP}", {"expiration": "2025-12-31T23:59:59Z"}, "401"),
    (f"Bearer {BOOTSTRAP}", {"expiration": "soon"}, "401"),
    (f"Bearer {BOOTSTRAP}", {"auth-extra-groups": "system:masters"}, "401"),
    (f"Bearer {BOOTSTRAP}", {"token-id": "zzzzzz"}, "401"),
]


@pytest.mark.parametrize(("header", "change", "expected"), TOKENS)
async def test_bearer_and_bootstrap_tokens(header: str, change: dict[str, str], expected: str, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        secret = {"type": "bootstrap.kubernetes.io/token", "data": bootstrap_secret(**change)}
        await add(world.registry, "secrets", "bootstrap-token-abcdef", "kube-system", **secret)
        assert await who(world, request(Authorization=header)) == expected


async def test_websocket_token(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        secret = {"type": "bootstrap.kubernetes.io/token", "data": bootstrap_secret()}
        await add(world.registry, "secrets", "bootstrap-token-abcdef", "kube-system", **secret)
        encoded = base64.urlsafe_b64encode(BOOTSTRAP.encode()).rstrip(b"=").decode()
        protocol = f"base64url.bearer.authorization.k8s.io.{encoded}"
        asked = request(Sec_WebSocket_Protocol=f"{protocol}, v4.channel.k8s.io")
        assert await who(world, asked) == BOOTSTRAPPER
        assert asked.headers.get("sec-websocket-protocol") == "v4.channel.k8s.io"
        assert await who(world, request(Sec_WebSocket_Protocol=protocol)) == "401"


async def test_in_process_user_is_taken_as_it_is(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        asked = request()
        asked.peer.identity = user("system:kube-scheduler")
        assert await who(world, asked) == "system:kube-scheduler system:authenticated"


IMPERSONATED: list[tuple[dict[str, str], str]] = [
    ({}, "ann"),
    ({"Impersonate_User": "bob"}, "bob system:authenticated"),
    ({"Impersonate_User": "bob", "Impersonate_Group": "devs"}, "bob devs system:authenticated"),
    (
        {"Impersonate_User": "bob", "Impersonate_Group": "system:masters"},
        'pods is forbidden: User "ann" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace '
        '"ns"',
    ),
    (
        {"Impersonate_User": "eve"},
        'pods is forbidden: User "ann" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace '
        '"ns"',
    ),
    (
        {"Impersonate_User": "system:serviceaccount:ns:sa"},
        "system:serviceaccount:ns:sa system:serviceaccounts system:serviceaccounts:ns system:authenticated",
    ),
    ({"Impersonate_Group": "devs"}, "requested [group devs] without impersonating a user"),
    (
        {"Impersonate_User": "bob", "Impersonate_Extra_Scopes": "view"},
        'pods is forbidden: User "ann" cannot impersonate-on:user-info:list resource "pods" in API group "" in the namespace '
        '"ns"',
    ),
]


LIST_PODS = RequestInfo(True, "/api/v1/namespaces/ns/pods", "list", "api", "", "v1", "ns", "pods")


@pytest.mark.parametrize(("headers", "expected"), IMPERSONATED)
async def test_impersonation(headers: dict[str, str], expected: str, tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        rules = [
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"], "resourceNames": ["devs"]},
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["serviceaccounts"]},
        ]
        await add(world.registry, CLUSTER_ROLES, "actor", rules=rules)
        binding = {"roleRef": {"kind": "ClusterRole", "name": "actor"}, "subjects": [{"kind": "User", "name": "ann"}]}
        await add(world.registry, CLUSTER_ROLE_BINDINGS, "actor", **binding)
        rbac = Rbac(world.registry)
        asked = request(**headers)
        try:
            acting = await world.authenticator.impersonate(User("ann"), asked, Authorizer((rbac,), rbac), LIST_PODS)
        except errors.StatusError as error:
            answer = error.message
        else:
            answer = " ".join((acting.user.name, *acting.user.groups))
            assert not acting.constraint
            assert not [name for name, _ in asked.headers if name.startswith("impersonate")]
        assert answer == expected


AGENT = User("system:serviceaccount:ns:agent", extra={"authentication.kubernetes.io/node-name": ("n1",)})
MEANWHILE = {"apiGroups": [""], "resources": ["pods"]}
REAL = {"apiGroups": ["authentication.k8s.io"]}


@pytest.mark.parametrize(
    ("who", "rules", "headers", "expected"),
    [
        (AGENT, [("associated-node", "nodes")], {"User": "system:node:n1"},
         "system:node:n1 system:nodes system:authenticated"),
        (AGENT, [("associated-node", "nodes")], {"User": "system:node:n2"}, "impersonate-on:arbitrary-node:list"),
        (AGENT, [("arbitrary-node", "nodes")], {"User": "system:node:n2"},
         "system:node:n2 system:nodes system:authenticated"),
        (AGENT, [("arbitrary-node", "nodes")], {"User": "system:node:n2", "Group": "a"},
         'cannot impersonate resource "users" in API group ""'),
        (AGENT, [("arbitrary-node", "nodes")], {"User": "system:node:N_2"}, "impersonate-on:user-info:list"),
        (AGENT, [("serviceaccount", "serviceaccounts")], {"User": "system:serviceaccount:a:b"},
         "system:serviceaccount:a:b system:serviceaccounts system:serviceaccounts:a system:authenticated"),
        (AGENT, [("user-info", "users")], {"User": "system:serviceaccount:a:b"}, "impersonate-on:serviceaccount:list"),
        (AGENT, [("user-info", "users")], {"User": "bob"}, "bob system:authenticated"),
        (AGENT, [("user-info", "users")], {"User": "bob", "Group": "devs"},
         'cannot impersonate:user-info resource "groups" in API group "authentication.k8s.io"'),
        (AGENT, [("user-info", "users groups")], {"User": "bob", "Group": "devs"}, "bob devs system:authenticated"),
        (AGENT, [("user-info", "*")], {"User": "bob", "Group": "system:masters"},
         "impersonating the system:masters group is not allowed"),
        (AGENT, [("user-info", "*")], {"User": "bob", "Extra-Scopes": "view"},
         "impersonating an invalid key in extra is not allowed"),
        (AGENT, [("user-info", "*")], {"User": "bob", "Extra-acme.io%2fscopes": "view"}, "bob system:authenticated"),
        (AGENT, [("user-info", "*")], {"User": "system:anonymous"}, "system:anonymous system:unauthenticated"),
        (User("ann"), [("associated-node", "nodes")], {"User": "system:node:n1"}, "impersonate-on:arbitrary-node:list"),
    ],
)  # fmt: skip
async def test_narrow_ways_to_impersonate(
    who: User, rules: list[tuple[str, str]], headers: dict[str, str], expected: str, tmp_path: Path
) -> None:
    async with open_world(tmp_path) as world:
        granted = []
        for mode, resources in rules:
            granted.append({**REAL, "verbs": [f"impersonate:{mode}"], "resources": resources.split()})
            granted.append({**MEANWHILE, "verbs": [f"impersonate-on:{mode}:list"]})
        await add(world.registry, CLUSTER_ROLES, "actor", rules=granted)
        binding = {
            "roleRef": {"kind": "ClusterRole", "name": "actor"},
            "subjects": [{"kind": "User", "name": who.name}],
        }
        await add(world.registry, CLUSTER_ROLE_BINDINGS, "actor", **binding)
        rbac = Rbac(world.registry)
        authorizer = Authorizer((rbac,), rbac)
        asked = request(**{f"Impersonate-{name}": value for name, value in headers.items()})
        again = request(**{f"Impersonate-{name}": value for name, value in headers.items()})
        try:
            acting = await world.authenticator.impersonate(who, asked, authorizer, LIST_PODS)
        except errors.Forbidden as error:
            answer = error.message
        else:
            answer = " ".join((acting.user.name, *acting.user.groups))
            assert acting.constraint == f"impersonate:{rules[0][0]}"
            other = replace(LIST_PODS, verb="delete")
            with pytest.raises(errors.Forbidden):
                await world.authenticator.impersonate(who, again, authorizer, other)
        assert expected in answer
