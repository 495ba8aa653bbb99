"""Several versions of a kind: renamed, or converted by a webhook; and the way of stored objects to a new version."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from knarr.kit.http.messages import Request, Response
from tests.apiserver.conftest import Api
from tests.apiserver.customresources.conftest import CRDS, FOOS, MERGE, SCHEMA, VERSION, crd, define, foo
from tests.apiserver.remote import open_remote, send_json

V2 = FOOS.replace("/v1/", "/v2/")
LOOSE: dict[str, Any] = {
    "openAPIV3Schema": {
        "type": "object",
        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
    }
}
OTHER = {"name": "v2", "served": True, "storage": False, "schema": LOOSE}


async def test_versions_that_differ_in_name(api: Api) -> None:
    made = await define(api, crd(versions=[VERSION, OTHER]))
    assert made["status"]["storedVersions"] == ["v1"]
    group = await api.ok("GET", "/apis/example.com")
    assert [one["version"] for one in group["versions"]] == ["v2", "v1"]
    await api.ok("POST", V2, foo("a", "v2", color="blue"))
    assert (await api.ok("GET", f"{FOOS}/a"))["apiVersion"] == "example.com/v1"
    assert (await api.ok("GET", V2))["items"][0]["apiVersion"] == "example.com/v2"


async def test_stored_versions_move(api: Api) -> None:
    await define(api, crd(versions=[VERSION, OTHER]))
    await api.ok("POST", FOOS, foo("a"))
    versions = [{**VERSION, "storage": False}, {**OTHER, "storage": True}]
    moved = await api.ok("PATCH", f"{CRDS}/foos.example.com", {"spec": {"versions": versions}}, content_type=MERGE)
    assert moved["status"]["storedVersions"] == ["v1", "v2"]
    before = await api.ok("GET", f"{FOOS}/a")
    after = await api.ok("PUT", f"{FOOS}/a", before)
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"], (
        "rewritten, though nothing changed"
    )
    again = await api.ok("PUT", f"{FOOS}/a", after)
    assert again["metadata"]["resourceVersion"] == after["metadata"]["resourceVersion"]
    gone = {"spec": {"versions": [{**OTHER, "storage": True}]}}
    status = await api.fails(422, "PATCH", f"{CRDS}/foos.example.com", gone, content_type=MERGE)
    assert "v1 was previously a storage version" in status["message"]
    done = {"status": {"storedVersions": ["v2"]}}
    await api.ok("PATCH", f"{CRDS}/foos.example.com/status", done, content_type=MERGE)
    await api.ok("PATCH", f"{CRDS}/foos.example.com", gone, content_type=MERGE)
    await api.fails(404, "GET", FOOS)
    assert (await api.ok("GET", f"{V2}/a"))["spec"]["size"] == 2


def converted(obj: dict[str, Any], version: str) -> dict[str, Any]:
    """v1 has `size`, v2 has `extent` with it as a text."""
    obj = deepcopy(obj)
    spec = obj["spec"]
    if version.endswith("v2") and "size" in spec:
        spec["extent"] = str(spec.pop("size"))
    elif version.endswith("v1") and "extent" in spec:
        spec["size"] = int(spec.pop("extent"))
    return {**obj, "apiVersion": version}


class Converter:
    """A conversion webhook; `fault` makes it do something wrong."""

    def __init__(self) -> None:
        self.fault = ""
        self.calls = 0

    async def serve(self, request: Request) -> Response:
        self.calls += 1
        review = json.loads(request.body)
        asked = review["request"]
        if self.fault == "status":
            return send_json({}, 500)
        objects = [converted(one, asked["desiredAPIVersion"]) for one in asked["objects"]]
        result = {"status": "Success"}
        if self.fault == "refuse":
            result = {"status": "Failure", "message": "not today"}
        elif self.fault == "rename":
            objects[0]["metadata"]["name"] = "other"
        elif self.fault == "lose":
            objects = objects[1:]
        answer = {"uid": asked["uid"], "result": result, "convertedObjects": objects}
        return send_json({**review, "request": None, "response": answer})


async def test_a_webhook_converts(api: Api, tmp_path: Path) -> None:
    converter = Converter()
    async with open_remote(tmp_path, converter.serve) as remote:
        config = {"url": f"{remote.url}/convert", "caBundle": remote.bundle}
        conversion = {"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config}}
        versions = [{**VERSION, "schema": {"openAPIV3Schema": SCHEMA}}, OTHER]
        await define(api, crd(versions=versions, conversion=conversion))
        await api.ok("POST", V2, {**foo("a", "v2"), "spec": {"extent": "7"}})
        calls = converter.calls
        assert (await api.ok("GET", f"{FOOS}/a"))["spec"] == {"size": 7, "color": "red"}
        assert converter.calls == calls, "what is stored in the version asked for needs no webhook"
        assert (await api.ok("GET", f"{V2}/a"))["spec"]["extent"] == "7"
        listed = (await api.ok("GET", V2))["items"]
        assert [(one["apiVersion"], one["spec"]["extent"]) for one in listed] == [("example.com/v2", "7")]
        async with api.watch(f"{V2}?resourceVersion=0") as events:
            assert (await events.next())["object"]["spec"]["extent"] == "7"
        patched = await api.ok("PATCH", f"{V2}/a", {"spec": {"extent": "8"}}, content_type=MERGE)
        assert patched["spec"]["extent"] == "8"
        assert (await api.ok("GET", f"{FOOS}/a"))["spec"]["size"] == 8
        for fault, words in (
            ("refuse", "not today"),
            ("rename", "mutated metadata.name"),
            ("lose", "expected 1 converted objects, got 0"),
            ("status", "the server"),
        ):
            converter.fault = fault
            status = await api.fails(500, "GET", f"{V2}/a")
            assert "conversion webhook for example.com/v1, Kind=Foo failed: " in status["message"]
            assert words in status["message"], status
        assert (await api.ok("GET", f"{FOOS}/a"))["spec"]["size"] == 8
