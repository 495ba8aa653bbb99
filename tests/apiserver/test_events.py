"""Events through events.k8s.io, as upstream's conformance test of them goes, but for what has become immutable since."""

from typing import Any

from tests.apiserver.conftest import Api

EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
CORE = "/api/v1/namespaces/default/events"
STRATEGIC = "application/strategic-merge-patch+json"
SERIES = {"count": 2, "lastObservedTime": "2017-09-19T13:49:11.000000Z"}


def event(name: str) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "labels": {"set": "yes"}},
        "eventTime": "2017-09-19T13:49:16.000000Z",
        "note": "This is a note",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "reportingController": "test-controller",
        "reportingInstance": "test-node",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
    }


async def test_an_event_may_go_on_but_what_it_says_stays(api: Api) -> None:
    made = await api.ok("POST", EVENTS, event("e"))
    for path, selector in ((CORE, "source"), (EVENTS, "reportingController")):
        found = await api.ok("GET", f"{path}?fieldSelector={selector}%3Dtest-controller")
        assert [one["metadata"]["name"] for one in found["items"]] == ["e"]
    status = await api.fails(422, "PATCH", f"{EVENTS}/e", {"note": "another"}, content_type=STRATEGIC)
    assert "field is immutable" in status["message"]
    patched = await api.ok("PATCH", f"{EVENTS}/e", {"series": SERIES}, content_type=STRATEGIC)
    assert (patched["note"], patched["series"]) == (made["note"], SERIES)
    changed = await api.ok("PUT", f"{EVENTS}/e", {**patched, "series": {**SERIES, "count": 100}})
    assert changed["series"]["count"] == 100
    status = await api.fails(422, "PUT", f"{EVENTS}/e", {**changed, "series": {**SERIES, "count": 1}})
    assert "series.count: Invalid value" in status["message"]


async def test_through_the_core_api_a_message_may_change(api: Api) -> None:
    await api.ok("POST", EVENTS, event("e"))
    patched = await api.ok("PATCH", f"{CORE}/e", {"message": "another"}, content_type=STRATEGIC)
    assert patched["message"] == "another"


async def test_a_set_of_events_is_deleted(api: Api) -> None:
    for name in ("a", "b"):
        await api.ok("POST", EVENTS, event(name))
    await api.ok("DELETE", f"{EVENTS}?labelSelector=set%3Dyes")
    assert (await api.ok("GET", CORE))["items"] == []
