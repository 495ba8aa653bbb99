import asyncio
import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from lightkube.models import core_v1

from knarr.api.user import User
from knarr.client import Client, transport
from knarr.control.informer import Informer, Informers
from knarr.kit.clock import FakeClock
from knarr.kit.http.messages import Headers, Request, Response


def config_map(name: str, version: int, *, namespace: str = "ns", **data: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": namespace, "resourceVersion": str(version), "labels": data}
    return {"metadata": {**meta, "managedFields": [{"manager": "x"}]}, "data": data}


class Script:
    """A server that answers lists and watches from what a test puts into it."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []
        self.revision = 1
        self.lists = 0
        self.watched_from: list[str] = []
        self.status = 200
        self.lines: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    async def handle(self, request: Request) -> Response:
        if self.status != 200:
            return Response(self.status, Headers([]), b"")
        if "watch=true" in request.query:
            version = dict(part.split("=") for part in request.query.split("&"))["resourceVersion"]
            self.watched_from.append(version)
            return Response(200, Headers([]), self._stream())
        self.lists += 1
        answer = {"metadata": {"resourceVersion": str(self.revision)}, "items": self.items}
        return Response(200, Headers([]), json.dumps(answer).encode())

    async def _stream(self) -> AsyncIterator[bytes]:
        while (line := await self.lines.get()) is not None:
            yield json.dumps(line).encode() + b"\n"

    def send(self, kind: str, obj: dict[str, Any]) -> None:
        self.lines.put_nowait({"type": kind, "object": obj})


class Following:
    """An informer over a script, and what it told."""

    def __init__(self, script: Script, informer: Informer[core_v1.ConfigMap], clock: FakeClock) -> None:
        self.script, self.informer, self.clock = script, informer, clock
        self.told: list[tuple[str, str]] = []
        informer.on_change(self._note)

    def _note(self, old: core_v1.ConfigMap | None, new: core_v1.ConfigMap | None) -> None:
        def version(obj: core_v1.ConfigMap | None) -> str:
            return f"{obj.metadata.name}@{obj.metadata.resourceVersion}" if obj and obj.metadata else "-"

        self.told.append((version(old), version(new)))


def follow(script: Script) -> tuple[Informers, Following]:
    clock = FakeClock()
    client = Client(transport.InProcessTransport(script.handle, User("u")), clock=clock)
    informers = Informers(client, clock, Random(1))
    return informers, Following(script, informers.of(core_v1.ConfigMap), clock)


async def test_lists_then_follows_and_drops_managed_fields() -> None:
    script = Script()
    script.items = [config_map("a", 1)]
    informers, following = follow(script)
    async with informers:
        await informers.wait_synced()
        script.send("MODIFIED", config_map("a", 5))
        script.send("ADDED", config_map("b", 6))
        script.send("DELETED", config_map("a", 7))
        await following.clock.advance(0)
        assert following.told == [("-", "a@1"), ("a@1", "a@5"), ("-", "b@6"), ("a@5", "-")]
        found = following.informer.get("ns", "b")
        assert found is not None
        assert found.metadata is not None
        assert found.metadata.managedFields is None
        assert script.watched_from == ["1"]


async def test_a_watch_that_ends_is_resumed_after_the_last_revision_bookmarks_included() -> None:
    script = Script()
    informers, following = follow(script)
    async with informers:
        await informers.wait_synced()
        script.send("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
        script.lines.put_nowait(None)
        await following.clock.advance(5)
        assert script.watched_from == ["1", "40"]
        assert script.lists == 1


async def test_what_was_missed_is_told_after_a_relist() -> None:
    script = Script()
    script.items = [config_map("gone", 1), config_map("changed", 1), config_map("same", 1)]
    informers, following = follow(script)
    async with informers:
        await informers.wait_synced()
        following.told.clear()
        script.items = [config_map("changed", 9), config_map("same", 1), config_map("new", 8)]
        script.revision = 9
        expired = {"kind": "Status", "reason": "Expired", "code": 410, "message": "too old resource version"}
        script.send("ERROR", expired)
        await following.clock.advance(5)
        assert sorted(following.told) == [("-", "new@8"), ("changed@1", "changed@9"), ("gone@1", "-")]
        assert script.watched_from == ["1", "9"]


async def test_an_unreachable_server_is_tried_again_with_pauses() -> None:
    script = Script()
    script.status = 503
    informers, following = follow(script)
    async with informers:
        await following.clock.advance(30)
        assert not following.informer.is_synced
        assert informers.unsynced == ["configmaps"]
        script.status = 200
        await following.clock.advance(30)
        assert following.informer.is_synced


async def test_indexes_follow_changes_and_late_handlers_hear_of_what_is_there() -> None:
    script = Script()
    script.items = [config_map("a", 1, color="red"), config_map("b", 1, color="blue", namespace="other")]
    informers, following = follow(script)
    async with informers:
        await informers.wait_synced()
        informer = following.informer
        informer.add_index("color", lambda one: [*(one.data or {}).values()])
        assert [one.metadata.name for one in informer.by_index("color", "red") if one.metadata] == ["a"]
        script.send("MODIFIED", config_map("a", 2, color="blue"))
        await following.clock.advance(0)
        assert informer.by_index("color", "red") == []
        assert len(informer.by_index("color", "blue")) == 2
        late: list[object] = []
        informer.on_change(lambda old, new: late.append(new))
        assert len(late) == 2
        assert len(informer.list("other")) == 1
        assert len(informer.list(selector=lambda labels: labels.get("color") == "blue")) == 2
        assert informers.of(core_v1.ConfigMap) is informer
        assert informers.of(core_v1.ConfigMap, namespace="ns") is not informer


def pod(name: str, version: int, phase: str) -> dict[str, Any]:
    meta = {"name": name, "namespace": "ns", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": {"containers": []}, "status": {"phase": phase}}


async def test_a_part_of_what_is_followed_already_shares_its_objects_and_needs_no_watch() -> None:
    script, clock = Script(), FakeClock()
    script.items = [pod("a", 1, "Running"), pod("b", 1, "Failed")]
    client = Client(transport.InProcessTransport(script.handle, User("tester")), clock=clock)
    async with Informers(client, clock, Random(1)) as informers:
        whole = informers.of(core_v1.Pod)
        part = informers.of(core_v1.Pod, field_selector="status.phase!=Succeeded,status.phase!=Failed")
        told: list[tuple[bool, bool]] = []
        part.on_change(lambda old, new: told.append((old is not None, new is not None)))
        await clock.advance(1)
        assert part.is_synced
        assert [one is whole.get("ns", "a") for one in part.list()] == [True]
        script.send("MODIFIED", pod("a", 2, "Succeeded"))
        script.send("MODIFIED", pod("b", 3, "Running"))
        script.send("DELETED", pod("b", 4, "Running"))
        await clock.advance(1)
        assert part.list() == []
        assert len(whole.list()) == 1
        assert told == [(False, True), (True, False), (False, True), (True, False)]
        assert (script.lists, len(script.watched_from)) == (1, 1)


async def test_what_only_the_server_can_select_is_asked_of_it() -> None:
    script, clock = Script(), FakeClock()
    client = Client(transport.InProcessTransport(script.handle, User("tester")), clock=clock)
    async with Informers(client, clock, Random(1)) as informers:
        informers.of(core_v1.Pod)
        informers.of(core_v1.Pod, field_selector="spec.hostNetwork=true")
        informers.of(core_v1.Pod, field_selector="status.phase=Running", label_selector="a=b")
        await clock.advance(1)
        assert script.lists == 3


async def test_a_kind_that_is_not_served_has_no_objects_until_it_is(caplog: pytest.LogCaptureFixture) -> None:
    script = Script()
    script.items, script.status = [config_map("a", 1)], 404
    informers, following = follow(script)
    async with informers:
        await informers.wait_synced()
        await following.clock.advance(50)
        assert (following.told, following.script.lists) == ([], 0)
        script.status = 200
        await following.clock.advance(120)
        assert following.told == [("-", "a@1")]
        assert [record.getMessage().partition(";")[0] for record in caplog.records] == [
            "v1 configmaps: not served by this API server"
        ]
