"""What the server itself makes of objects on their way into the store."""

from typing import Any

import pytest

from tests.apiserver.conftest import Api
from tests.apiserver.test_verbs import MERGE, PODS, pod

Object = dict[str, Any]

CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
DEVICES = "/apis/resource.k8s.io/v1/namespaces/default"
SNAPSHOT = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "s"}
ODD = {"apiGroup": "example.com", "kind": "Backup", "name": "b"}
PROFILE = "container.apparmor.security.beta.kubernetes.io/c"


async def test_label_keys_become_requirements(api: Api) -> None:
    term = {"topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["app", "none"]}
    apart = {"topologyKey": "zone", "labelSelector": {}, "mismatchLabelKeys": ["app"]}
    nothing = {"topologyKey": "zone"}
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    affinity = {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term, nothing]},
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": apart}]
        },
    }
    spread = {**spread, "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["app"]}
    made = await api.ok("POST", PODS, pod("p", affinity=affinity, topologySpreadConstraints=[spread]))
    wanted = {"key": "app", "operator": "In", "values": ["p"]}
    required = made["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required[0]["labelSelector"] == {"matchExpressions": [wanted]}
    assert "labelSelector" not in required[1]
    preferred = made["spec"]["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert preferred[0]["podAffinityTerm"]["labelSelector"] == {"matchExpressions": [{**wanted, "operator": "NotIn"}]}
    assert made["spec"]["topologySpreadConstraints"][0]["labelSelector"] == {
        "matchLabels": {"a": "b"},
        "matchExpressions": [wanted],
    }
    both = {**term, "labelSelector": {"matchLabels": {"app": "p"}}, "matchLabelKeys": ["app"]}
    affinity = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [both]}}
    status = await api.fails(422, "POST", PODS, pod("q", labels={"app": "p"}, affinity=affinity))
    assert "exists in both matchLabelKeys and labelSelector" in status["message"]


@pytest.mark.parametrize(
    ("annotation", "of_pod", "expected", "is_warned"),
    [
        ("runtime/default", None, {"type": "RuntimeDefault"}, True),
        ("localhost/mine", None, {"type": "Localhost", "localhostProfile": "mine"}, True),
        ("unconfined", {"type": "Unconfined"}, None, False),
        ("localhost/", None, None, True),
    ],
)
async def test_app_armor_annotations_become_fields(
    api: Api, annotation: str, of_pod: Object | None, expected: Object | None, is_warned: bool
) -> None:
    body = pod("p", **({"securityContext": {"appArmorProfile": of_pod}} if of_pod else {}))
    body["metadata"]["annotations"] = {PROFILE: annotation}
    response = await api.call("POST", PODS, body)
    found = (await api.ok("GET", f"{PODS}/p"))["spec"]["containers"][0]
    assert (found.get("securityContext") or {}).get("appArmorProfile") == expected
    words = (
        f'299 - "metadata.annotations[{PROFILE}]: deprecated since v1.30; use the \\"appArmorProfile\\" field instead"'
    )
    assert response.headers.get_all("warning") == ([words] if is_warned else [])


async def test_a_gated_pod_says_since_when(api: Api) -> None:
    made = await api.ok("POST", PODS, pod("p", schedulingGates=[{"name": "example.com/gate"}]))
    condition = made["status"]["conditions"][0]
    assert (condition["reason"], condition["lastTransitionTime"]) == (
        "SchedulingGated",
        made["metadata"]["creationTimestamp"],
    )


async def test_observed_generations_outlive_writers_that_do_not_know_them(api: Api) -> None:
    await api.ok("POST", PODS, pod("p"))
    ready = {"type": "Ready", "status": "True", "observedGeneration": 1}
    await api.ok(
        "PATCH", f"{PODS}/p/status", {"status": {"observedGeneration": 1, "conditions": [ready]}}, content_type=MERGE
    )
    found = await api.ok("GET", f"{PODS}/p")
    found["status"] = {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}
    status = (await api.ok("PUT", f"{PODS}/p/status", found))["status"]
    assert (status["observedGeneration"], status["conditions"][0]["observedGeneration"]) == (1, 1)


async def test_a_resize_may_not_rename_containers(api: Api) -> None:
    await api.ok("POST", PODS, pod("p"))
    found = await api.ok("GET", f"{PODS}/p")
    found["spec"]["containers"][0]["name"] = "other"
    assert (
        "only cpu and memory resources are mutable"
        in (await api.fails(422, "PUT", f"{PODS}/p/resize", found))["message"]
    )
    found["spec"]["containers"].append(dict(found["spec"]["containers"][0], name="more"))
    assert (
        "only cpu and memory resources are mutable"
        in (await api.fails(422, "PUT", f"{PODS}/p/resize", found))["message"]
    )


@pytest.mark.parametrize(
    ("given", "source", "reference"),
    [
        ({"dataSource": SNAPSHOT}, SNAPSHOT, SNAPSHOT),
        ({"dataSourceRef": ODD}, ODD, ODD),
        ({"dataSource": ODD}, None, None),
        ({"dataSource": ODD, "dataSourceRef": ODD}, ODD, ODD),
        ({"dataSourceRef": {**SNAPSHOT, "namespace": "other"}}, None, {**SNAPSHOT, "namespace": "other"}),
        ({}, None, None),
    ],
)
async def test_sources_of_claims(api: Api, given: Object, source: Object | None, reference: Object | None) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **given}
    made = (await api.ok("POST", CLAIMS, {"metadata": {"name": "c"}, "spec": spec}))["spec"]
    assert (made.get("dataSource"), made.get("dataSourceRef")) == (source, reference)


async def test_volumes_note_when_their_phase_changes(api: Api) -> None:
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}
    made = await api.ok("POST", VOLUMES, {"metadata": {"name": "v"}, "spec": spec})
    born = made["metadata"]["creationTimestamp"]
    assert made["status"] == {"phase": "Pending", "lastPhaseTransitionTime": born}
    await api.clock.advance(60)
    same = await api.ok("PATCH", f"{VOLUMES}/v/status", {"status": {"message": "x"}}, content_type=MERGE)
    assert same["status"]["lastPhaseTransitionTime"] == born
    bound = await api.ok("PATCH", f"{VOLUMES}/v/status", {"status": {"phase": "Available"}}, content_type=MERGE)
    assert bound["status"]["lastPhaseTransitionTime"] > born


async def test_what_counts_as_a_new_generation(api: Api) -> None:
    body = {"metadata": {"name": "s"}, "addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}
    body["endpoints"][0]["deprecatedTopology"] = {"kubernetes.io/hostname": "n"}  # type: ignore[index]
    made = await api.ok("POST", SLICES, body)
    assert (made["metadata"]["generation"], "deprecatedTopology" in made["endpoints"][0]) == (1, False)
    for change, generation in (
        ({"metadata": {"annotations": {"a": "b"}}}, 1),
        ({"metadata": {"labels": {"a": "b"}}}, 2),
        ({"endpoints": []}, 3),
        ({"metadata": {"labels": {"a": "c"}}, "endpoints": [{"addresses": ["10.0.0.2"]}]}, 4),
    ):
        found = await api.ok("PATCH", f"{SLICES}/s", change, content_type=MERGE)
        assert found["metadata"]["generation"] == generation, change
    classes = "/apis/scheduling.k8s.io/v1/priorityclasses"
    await api.ok("POST", classes, {"metadata": {"name": "p"}, "value": 1})
    found = await api.ok("PATCH", f"{classes}/p", {"description": "x"}, content_type=MERGE)
    assert found["metadata"]["generation"] == 1


async def test_accounts_name_secrets_and_say_nothing_else_of_them(api: Api) -> None:
    body = {"metadata": {"name": "a"}, "secrets": [{"name": "s", "namespace": "other", "uid": "u"}]}
    made = await api.ok("POST", "/api/v1/namespaces/default/serviceaccounts", body)
    assert made["secrets"] == [{"name": "s"}]


async def test_administrators_access_needs_a_marked_namespace(api: Api) -> None:
    devices = {"requests": [{"name": "r", "exactly": {"deviceClassName": "c", "adminAccess": True}}]}
    bodies = {
        "resourceclaims": {"metadata": {"name": "c"}, "spec": {"devices": devices}},
        "resourceclaimtemplates": {"metadata": {"name": "c"}, "spec": {"spec": {"devices": devices}}},
    }
    for plural, body in bodies.items():
        status = await api.fails(422, "POST", f"{DEVICES}/{plural}", body)
        assert "requires the `resource.kubernetes.io/admin-access: true` label" in status["message"]
    labels = {"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}
    await api.ok("PATCH", "/api/v1/namespaces/default", labels, content_type=MERGE)
    for plural, body in bodies.items():
        await api.ok("POST", f"{DEVICES}/{plural}", body)


async def test_warnings_come_with_valid_objects_alone(api: Api) -> None:
    body = pod("a.b")
    response = await api.call("POST", f"{PODS}?dryRun=All", body)
    assert len(response.headers.get_all("warning")) == 1
    body["spec"]["containers"][0]["image"] = ""
    response = await api.call("POST", PODS, body)
    assert (response.status, response.headers.get_all("warning")) == (422, [])
