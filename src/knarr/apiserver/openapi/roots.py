"""The paths that tell of what is served instead of being about it: versions, groups and their resources, and the keys of tokens.

Source: k8s.io/apiserver/pkg/endpoints/discovery, pkg/routes/{version,openidmetadata}.go (v1.37).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from knarr.api.scheme import Scheme
from knarr.apiserver.openapi import schemas

Object = dict[str, Any]

_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
_TYPES = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"]


@dataclass(frozen=True, slots=True)
class Root:
    """A path with a GET.

    Attributes:
        path: Such as "/apis/apps/".
        definition: What it answers with; empty means text.
        tag: Groups it with others.
        operation: Its operationId.
        description: For people.
        produces: Media types.
    """

    path: str
    definition: str
    tag: str
    operation: str
    description: str
    produces: tuple[str, ...] = tuple(_TYPES)

    def to_item(self) -> Object:
        """Return the path item in the form of OpenAPI v2."""
        schema = {"$ref": schemas.V2_ROOT + self.definition} if self.definition else {"type": "string"}
        operation = {
            "consumes": list(self.produces),
            "description": self.description,
            "operationId": self.operation,
            "produces": list(self.produces),
            "responses": {"200": {"description": "OK", "schema": schema}, "401": {"description": "Unauthorized"}},
            "schemes": ["https"],
            "tags": [self.tag],
        }
        return {"get": operation}


def documents(scheme: Scheme) -> dict[str, Root]:
    """Return the roots that have a document of their own, by its name in the index."""
    json = ("application/json",)
    found = {
        ".well-known/openid-configuration": Root(
            "/.well-known/openid-configuration/", "", "WellKnown", "getServiceAccountIssuerOpenIDConfiguration",
            "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'", json,
        ),
        "api": Root("/api/", f"{_META}.APIVersions", "core", "getCoreAPIVersions", "get available API versions"),
        "apis": Root("/apis/", f"{_META}.APIGroupList", "apis", "getAPIVersions", "get available API versions"),
        "openid/v1/jwks": Root(
            "/openid/v1/jwks/", "", "openid", "getServiceAccountIssuerOpenIDKeyset",
            "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)", ("application/jwk-set+json",),
        ),
        "version": Root(
            "/version/", "io.k8s.apimachinery.pkg.version.Info", "version", "getCodeVersion",
            "get the version information for this server", json,
        ),
    }  # fmt: skip
    for group in scheme.groups():
        if group:
            tag = _tag(group)
            operation = f"get{tag[:1].upper()}{tag[1:]}APIGroup"
            found[f"apis/{group}"] = Root(
                f"/apis/{group}/", f"{_META}.APIGroup", tag, operation, "get information of a group"
            )
    return found


def of_version(group: str, version: str) -> Root:
    """Return the path that lists the resources of a version."""
    path = f"/apis/{group}/{version}/" if group else f"/api/{version}/"
    tag = f"{_tag(group or 'core')}_{version}"
    operation = f"get{''.join(word[:1].upper() + word[1:] for word in tag.split('_'))}APIResources"
    return Root(path, f"{_META}.APIResourceList", tag, operation, "get available resources")


def items(roots: Iterable[Root]) -> Iterator[tuple[str, Object]]:
    """Yield paths with their path items."""
    for root in roots:
        yield root.path, root.to_item()


def _tag(group: str) -> str:
    first, *rest = group.removesuffix(".k8s.io").replace("-", ".").split(".")
    return first + "".join(word[:1].upper() + word[1:] for word in rest)
