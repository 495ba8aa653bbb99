"""Requests made of the OpenAPI documents that the server gives out: none is answered with 500, or with an error that is no Status.

KNARR_EXAMPLES is how many requests are made of each document, KNARR_SEED which; the long run by hand is

    KNARR_EXAMPLES=3000 KNARR_SEED=2 .venv/bin/pytest tests/apiserver/test_schemathesis.py -n 2
"""

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.core.transport import Response

from knarr.api.scheme import BUILT_IN
from tests.apiserver.examples import Examples
from tests.apiserver.wsgi import Application, open_application

Object = dict[str, Any]

pytestmark = pytest.mark.timeout(900)  # making requests takes processor time, which a busy machine has not

EXAMPLES = int(os.environ.get("KNARR_EXAMPLES", "5"))
SEED = int(os.environ.get("KNARR_SEED", "1"))
GROUPS = [
    f"apis/{group}/{version}" if group else f"api/{version}"
    for group, versions in BUILT_IN.groups().items()
    for version in versions
]
ROOTS = ["api", "apis", "apis/apps", "version", "openid/v1/jwks", ".well-known/openid-configuration"]
TOKENS = ("a", "", "0", "-1", "default", "1", "true", "All", "x" * 300, "metadata.name=x", "%", "\0", "\ud7ff")


@pytest.fixture(scope="module")
def application() -> Iterator[Application]:
    with open_application() as found:
        yield found


@pytest.mark.parametrize("document", [*GROUPS, *ROOTS])
def test_openapi_v3(application: Application, document: str) -> None:
    examine(application, f"/openapi/v3/{document}", EXAMPLES)


def test_openapi_v2(application: Application) -> None:
    examine(application, "/openapi/v2", 4 * EXAMPLES)


def examine(application: Application, path: str, count: int) -> None:
    """Make `count` requests of a document."""
    schema = schemathesis.openapi.from_wsgi(path, application)
    operations = [found.ok() for found in schema.get_all_operations()]
    objects = Objects(application)

    @seed(SEED)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.data())
    def run(data: st.DataObject) -> None:
        operation = data.draw(st.sampled_from(operations))
        mode = data.draw(st.sampled_from(GenerationMode))
        case = data.draw(operation.as_strategy(generation_mode=mode))
        if data.draw(st.integers(0, 3)):
            objects.point_at_one(case)
        if case.query and data.draw(st.booleans()):
            name = data.draw(st.sampled_from(sorted(case.query)))
            case.query[name] = data.draw(st.sampled_from(TOKENS))
        check(case.call())

    run()


class Objects:
    """Things that exist, for requests to be about."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._examples = Examples()

    def point_at_one(self, case: schemathesis.Case) -> None:
        """Have a request be about an object that exists, and say so in its body."""
        given = case.path_parameters
        if "namespace" in given:
            given["namespace"] = "default"
        if "name" not in given:
            return
        collection = case.operation.path.partition("/{name}")[0].replace("{namespace}", "default")
        parts = collection.strip("/").split("/")
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2])
        resource = BUILT_IN.find(group, version, parts[-1])
        if resource is None or not resource.is_stored:
            return
        made = self._examples.of(resource.api_version, resource.kind)
        made["metadata"]["name"] += "-seen" if resource.kind not in ("IPAddress", "CustomResourceDefinition") else ""
        self._application.call("POST", collection, made)
        given["name"] = made["metadata"]["name"]
        if isinstance(case.body, dict) and case.method in ("PUT", "POST"):
            case.body["metadata"] = {"name": given["name"]}
            case.body.setdefault("spec", made.get("spec", {}))


def check(response: Response) -> None:
    """Check what must hold for every answer."""
    code, kind = response.status_code, response.headers.get("content-type", [""])[0]
    assert code < 500 or code in (503, 504), (code, response.request.url, response.content)
    if code < 400 or not response.content or response.request.method == "HEAD":
        return
    if kind == "application/json":
        check_status(json.loads(response.content), code)


def check_status(status: Object, code: int) -> None:
    """Check that an error is told as upstream tells errors."""
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure"), status
    assert status["code"] == code, status
    assert status["message"], status
    assert status.get("reason") or code in (400, 404, 405, 406, 413, 415), status
