"""What is said of definitions in Kubernetes' own groups, and all that is wrong with a custom object at once."""

from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.customresources.conftest import CRDS, FOOS, MERGE, SCHEMA, VERSION, crd, define, foo, settle

Object = dict[str, Any]

ANNOTATION = "api-approved.kubernetes.io"
CONFORMS = "KubernetesAPIApprovalPolicyConformant"
SEE = "see https://github.com/kubernetes/enhancements/pull/1111"


def protected(annotation: str | None) -> Object:
    body = crd()
    body["spec"]["group"] = "example.k8s.io"
    body["metadata"] = {"name": "foos.example.k8s.io"}
    if annotation is not None:
        body["metadata"]["annotations"] = {ANNOTATION: annotation}
    return body


@pytest.mark.parametrize(
    ("annotation", "status", "reason", "message"),
    [
        ("https://github.com/kubernetes/kubernetes/pull/1", "True", "ApprovedAnnotation",
         "approved in https://github.com/kubernetes/kubernetes/pull/1"),
        ("unapproved, an experiment", "False", "UnapprovedAnnotation", 'not approved: "unapproved, an experiment"'),
    ],
)  # fmt: skip
async def test_approval_is_a_condition(api: Api, annotation: str, status: str, reason: str, message: str) -> None:
    await api.ok("POST", CRDS, protected(annotation))
    await settle()
    conditions = (await api.ok("GET", f"{CRDS}/foos.example.k8s.io"))["status"]["conditions"]
    (found,) = (one for one in conditions if one["type"] == CONFORMS)
    assert (found["status"], found["reason"], found["message"]) == (status, reason, message)
    change = {"metadata": {"annotations": {ANNOTATION: None}}}
    refused = await api.fails(422, "PATCH", f"{CRDS}/foos.example.k8s.io", change, content_type=MERGE)
    assert f"metadata.annotations[{ANNOTATION}]: Required value: protected groups must have" in refused["message"]
    await api.ok("PATCH", f"{CRDS}/foos.example.k8s.io", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (None, f'Required value: protected groups must have approval annotation "{ANNOTATION}", {SEE}'),
        ("soon", f'Invalid value: "soon": protected groups must have approval annotation "{ANNOTATION}" with either a URL '
                 f'or a reason starting with "unapproved", {SEE}'),
    ],
)  # fmt: skip
async def test_groups_of_the_community_need_approval(api: Api, annotation: str | None, words: str) -> None:
    refused = await api.fails(422, "POST", CRDS, protected(annotation))
    assert refused["message"].endswith(f"metadata.annotations[{ANNOTATION}]: {words}")


async def test_other_groups_have_no_such_condition(api: Api) -> None:
    made = await define(api)
    assert CONFORMS not in {one["type"] for one in made["status"]["conditions"]}


async def test_all_that_is_wrong_is_said_at_once(api: Api) -> None:
    await define(api)
    body = foo("a", size=0, ports=[{"name": "a"}, {"name": "a"}])
    refused = await api.fails(422, "POST", FOOS, body)
    assert refused["message"] == (
        'Foo.example.com "a" is invalid: [spec.size: Invalid value: 0: spec.size in body should be greater than or equal to '
        '1, spec.ports[1]: Duplicate value: {"name":"a"}]'
    )
    body["spec"]["size"] = "large"
    refused = await api.fails(422, "POST", FOOS, body)
    assert refused["message"] == (
        'Foo.example.com "a" is invalid: [spec.size: Invalid value: "string": spec.size in body must be of type integer: '
        '"string", spec.ports[1]: Duplicate value: {"name":"a"}, <nil>: Invalid value: null: some validation rules were not '
        "checked because the object was invalid; correct the existing errors to complete validation]"
    )


async def test_lists_with_duplicates_from_before_are_let_be(api: Api) -> None:
    loose = {**SCHEMA, "properties": {**SCHEMA["properties"]}}
    spec = dict(loose["properties"]["spec"])
    ports = {**spec["properties"]["ports"], "x-kubernetes-list-type": "atomic"}
    del ports["x-kubernetes-list-map-keys"]
    loose["properties"]["spec"] = {**spec, "properties": {**spec["properties"], "ports": ports}}
    body = crd()
    body["spec"]["versions"] = [{**VERSION, "schema": {"openAPIV3Schema": loose}}]
    await define(api, body)
    twice = [{"name": "a"}, {"name": "a"}]
    await api.ok("POST", FOOS, foo("old", size=1, ports=twice))
    await api.ok("PATCH", f"{CRDS}/foos.example.com", {"spec": {"versions": [VERSION]}}, content_type=MERGE)
    await settle()
    await api.ok("PATCH", f"{FOOS}/old", {"spec": {"size": 2}}, content_type=MERGE)
    await api.ok("PATCH", f"{FOOS}/old", {"spec": {"ports": [*twice, {"name": "b"}]}}, content_type=MERGE)
    await api.ok("PATCH", f"{FOOS}/old", {"spec": {"ports": []}}, content_type=MERGE)
    await api.fails(422, "PATCH", f"{FOOS}/old", {"spec": {"ports": twice}}, content_type=MERGE)


async def test_finalizers_that_others_may_have_too(api: Api) -> None:
    await define(api)
    body = foo("a", size=1)
    body["metadata"]["finalizers"] = ["hold", "example.com/hold", "hold.example.com", "orphan"]
    response = await api.call("POST", FOOS, body)
    assert [text.split('"', 1)[1].rstrip('"') for text in response.headers.get_all("warning")] == [
        'metadata.finalizers: \\"hold\\": prefer a domain-qualified finalizer name to avoid accidental conflicts with other '
        "finalizer writers",
        'metadata.finalizers: \\"hold.example.com\\": prefer a domain-qualified finalizer name including a path (/) to avoid '
        "accidental conflicts with other finalizer writers",
    ]
    response = await api.call("PATCH", f"{FOOS}/a", {"metadata": {"labels": {"a": "b"}}}, content_type=MERGE)
    assert response.headers.get_all("warning") == []
