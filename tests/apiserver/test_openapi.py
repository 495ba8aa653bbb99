import json

import pytest

from knarr.api.scheme import BUILT_IN, Resource
from knarr.api.structural import publish
from knarr.apiserver import openapi
from knarr.apiserver.openapi import openapiv2_pb2 as pb
from tests.apiserver.coverage import endpoints

DOCUMENTS = openapi.Documents(BUILT_IN, "v1.37.0+knarr")


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_the_index_names_every_version_by_its_hash():
    paths = json.loads(DOCUMENTS.index)["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/autoscaling/v2"} <= set(paths)
    assert paths["api/v1"]["serverRelativeURL"] == f"/openapi/v3/api/v1?hash={DOCUMENTS.hash_of('api/v1')}"
    assert DOCUMENTS.hash_of("api/v2") is None
    assert DOCUMENTS.v3("api/v2") is None


@pytest.mark.parametrize("path", ["api/v1", "apis/apps/v1", "apis/apiextensions.k8s.io/v1", "apis/events.k8s.io/v1"])
def test_every_reference_leads_somewhere(path):
    document = json.loads(DOCUMENTS.v3(path).body)
    assert set(references(document)) <= set(document["components"]["schemas"])


def test_what_kubectl_looks_for_at_a_path():
    document = json.loads(DOCUMENTS.v3("apis/apps/v1").body)
    item = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    assert item["patch"]["x-kubernetes-group-version-kind"] == {"group": "apps", "kind": "Deployment", "version": "v1"}
    assert "fieldValidation" in [parameter["name"] for parameter in item["patch"]["parameters"]]
    assert "application/apply-patch+yaml" in item["patch"]["requestBody"]["content"]
    scale = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]["get"]
    assert scale["x-kubernetes-group-version-kind"]["kind"] == "Scale"
    assert (
        document["paths"]["/apis/apps/v1/deployments"]["get"]["operationId"] == "listAppsV1DeploymentForAllNamespaces"
    )


def test_what_explain_prints():
    schemas = json.loads(DOCUMENTS.v3("api/v1").body)["components"]["schemas"]
    pod = schemas["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "kind": "Pod", "version": "v1"}]
    spec = pod["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert spec["description"].startswith("Specification of the desired behavior of the pod.")
    assert pod["properties"]["kind"]["type"] == "string"
    assert "enum" not in pod["properties"]["kind"]
    port = schemas["io.k8s.api.core.v1.ContainerPort"]["properties"]["protocol"]
    assert port["default"] == "TCP"
    assert schemas["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"] == "int-or-string"


def test_operation_ids_are_unique():
    document = json.loads(DOCUMENTS.v2().body)
    found = [
        operation["operationId"]
        for item in document["paths"].values()
        for method, operation in item.items()
        if method != "parameters"
    ]
    assert len(found) == len(set(found))
    assert set(references(document)) <= set(document["definitions"])


def test_protobuf_says_what_json_says():
    document = json.loads(DOCUMENTS.v2().body)
    message = pb.Document.FromString(DOCUMENTS.v2(openapi.V2_PROTOBUF).body)
    assert message.swagger == "2.0"
    assert [path.name for path in message.paths.path] == list(document["paths"])
    definitions = {one.name: one.value for one in message.definitions.additional_properties}
    assert list(definitions) == list(document["definitions"])
    spec = definitions["io.k8s.api.core.v1.PodSpec"]
    containers = next(one.value for one in spec.properties.additional_properties if one.name == "containers")
    assert containers.items.schema[0]._ref == "#/definitions/io.k8s.api.core.v1.Container"
    extensions = {extension.name: json.loads(extension.value.yaml) for extension in containers.vendor_extension}
    assert extensions["x-kubernetes-patch-merge-key"] == "name"


def test_custom_definitions_are_shown():
    schema = {"type": "object", "properties": {"size": {"type": "integer"}}}
    definition = "com.example.v1.Widget"
    widget = Resource(
        "example.com",
        "v1",
        "Widget",
        "widgets",
        "widget",
        True,
        ("get", "patch"),
        definition=definition,
        storage="x",
        custom=True,
    )
    scheme = BUILT_IN.with_resources([widget])
    published = publish.Published("example.com", "v1", "Widget", "WidgetList", "widgets", definition, schema)
    document = json.loads(openapi.Documents(scheme, "v1", {definition: published}).v3("apis/example.com/v1").body)
    assert document["components"]["schemas"][definition]["properties"]["size"] == {"type": "integer"}
    answer = document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["get"]["responses"]["200"]
    assert answer["content"]["application/json"]["schema"] == {"$ref": f"#/components/schemas/{definition}"}


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", openapi.JSON),
        ("application/json", openapi.JSON),
        (openapi.V2_PROTOBUF, openapi.V2_PROTOBUF),
        (f"{openapi.V2_PROTOBUF}, application/json", openapi.V2_PROTOBUF),
    ],
)
def test_form_of_v2(accept, expected):
    assert openapi.v2_media_type(accept) == expected


@pytest.mark.parametrize(
    ("name", "path", "definition"),
    [
        ("api", "/api/", "APIVersions"),
        ("apis", "/apis/", "APIGroupList"),
        ("apis/apps", "/apis/apps/", "APIGroup"),
        ("version", "/version/", "Info"),
        ("apis/apps/v1", "/apis/apps/v1/", "APIResourceList"),
        ("api/v1", "/api/v1/", "APIResourceList"),
    ],
)
def test_discovery_is_described(name, path, definition):
    found = DOCUMENTS.v3(name)
    document = json.loads(found.body)
    answer = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"]
    assert answer.rpartition(".")[2] == definition
    assert answer.rpartition("/")[2] in document["components"]["schemas"]
    assert json.loads(DOCUMENTS.index)["paths"][name]["serverRelativeURL"].endswith(DOCUMENTS.hash_of(name))
    assert path in json.loads(DOCUMENTS.v2().body)["paths"]


def test_every_endpoint_is_described_and_no_other():
    paths = json.loads(DOCUMENTS.v2().body)["paths"]
    described = {(path, method.upper()) for path, item in paths.items() for method in item if method != "parameters"}
    expected = {(one.path, one.method) for one in endpoints() if one.is_expected and not one.path.startswith("/logs/")}
    assert described == expected
