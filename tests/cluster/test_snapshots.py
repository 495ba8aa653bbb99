"""The schedule of snapshots, and the commands about them."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knarr.cli import main
from knarr.cluster import serveroptions, snapshots
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.serveroptions import ServerOptions
from knarr.kit.clock import FakeClock
from knarr.store import transfer
from knarr.store.backend import ABSENT
from knarr.store.sqlite import SqliteBackend
from tests.store.objects import encode, key


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv("KNARR_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("KNARR_RUN", str(tmp_path / "run"))
    layout = Layout.of("one")
    layout.create()
    known = {
        "name": "one",
        "number": 0,
        "api_port": 6443,
        "node_port": 10250,
        "service_cidr": "10.96.0.0/16",
        "pod_cidr": "10.244.0.0/16",
        "dns_address": "10.96.0.10",
        "domain": "cluster.local",
        "bridge": "knarr0",
        "node_name": "n",
        "advertise_address": "10.0.0.1",
    }
    layout.settings.write_text(json.dumps(known))
    return layout


def fill(path: Path, name: str = "a") -> None:
    async def write() -> None:
        backend = SqliteBackend(path)
        await backend.open(lambda _events: None)
        await backend.write(key(name), encode(name), expected=ABSENT)
        await backend.aclose()

    asyncio.run(write())


async def test_snapshots_are_made_by_schedule_and_the_newest_stay(layout: Layout) -> None:
    await asyncio.to_thread(fill, layout.database)
    clock = FakeClock(datetime(2026, 1, 1, 0, 30, tzinfo=UTC))
    plan = snapshots.schedule(layout, ServerOptions(snapshot_schedule_cron="0 */12 * * *", snapshot_retention=2))
    assert plan is not None
    place = transfer.Place("", layout.database)
    await snapshots.save(place, plan.folder, clock.now())
    task = asyncio.create_task(snapshots.run(plan, place, clock))
    for due in ("20260101T12", "20260102T00", "20260102T12", "20260103T00"):
        async with asyncio.timeout(30):
            while snapshots.find(plan.folder)[-1].name != f"scheduled-{due}0000Z.db":
                await clock.advance(600)
                await asyncio.sleep(0.02)
    while len(snapshots.find(plan.folder)) > 3:
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    assert [path.name for path in snapshots.find(plan.folder)] == [
        "manual-20260101T003000Z.db",  # one that was asked for stays
        "scheduled-20260102T120000Z.db",
        "scheduled-20260103T000000Z.db",
    ]


def test_without_a_schedule_none_are_made(layout: Layout) -> None:
    assert snapshots.schedule(layout, ServerOptions()) is None


@pytest.mark.parametrize(
    "options", [{"snapshot_schedule_cron": "often"}, {"snapshot_schedule_cron": "@daily", "snapshot_retention": 0}]
)
def test_options_that_make_no_sense(layout: Layout, options: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="snapshot"):
        snapshots.schedule(layout, ServerOptions(**options))


def test_save_list_and_restore_by_command(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    fill(layout.database)
    assert main.run(["snapshot", "save", "--name", "one", "-o", "json"]) == 0
    [made] = json.loads(capsys.readouterr().out)
    assert (made["objects"], Path(made["path"]).parent) == (1, layout.data / "snapshots")
    fill(layout.database, "b")
    assert main.run(["snapshot", "restore", made["path"], "--name", "one"]) == 0
    assert "what was there is in" in capsys.readouterr().err
    assert main.run(["snapshot", "save", str(layout.data / "two.db"), "--name", "one", "-o", "json"]) == 0
    [again] = json.loads(capsys.readouterr().out)
    assert again["objects"] == 1
    assert again["revision"] > made["revision"] + 1_000_000
    (layout.data / "snapshots" / "manual-20200101T000000Z.db").write_text("no snapshot")
    assert main.run(["snapshot", "list", "--name", "one"]) == 0
    printed = capsys.readouterr()
    assert made["path"] in printed.out
    assert "manual-20200101T000000Z.db cannot be used as a store" in printed.err


def test_a_move_by_command_names_the_new_store(layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    fill(layout.database)
    target = f"sqlite:{layout.data / 'moved.db'}"
    assert main.run(["store", "migrate", "--to", target, "--name", "one"]) == 0
    assert serveroptions.load(layout).store == target
    assert main.run(["store", "migrate", "--to", target, "--from", f"sqlite:{layout.database}", "--name", "one"]) == 1
    assert "holds 1 objects already" in capsys.readouterr().err
    assert main.run(["store", "migrate", "--to", "nowhere", "--name", "one"]) == 2
