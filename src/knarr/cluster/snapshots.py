"""Snapshots of a cluster's objects: where they are, when they are made, and how many are kept.

Counterpart: `k3s etcd-snapshot` and its server's --etcd-snapshot-schedule-cron, --etcd-snapshot-retention and --etcd-snapshot-dir.
"""

import datetime
import logging
from pathlib import Path

import msgspec

from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.serveroptions import ServerOptions, to_place
from knarr.kit import clock as clocks
from knarr.lang import cron
from knarr.store import snapshots, transfer
from knarr.store.errors import StoreError

SUFFIX = ".db"
MANUAL, SCHEDULED = "manual", "scheduled"

logger = logging.getLogger(__name__)


class Schedule(msgspec.Struct, frozen=True):
    """What a server does by itself.

    Attributes:
        times: When it makes a snapshot.
        keep: How many of them stay.
        folder: Where they are.
    """

    times: cron.Schedule
    keep: int
    folder: Path


def folder(layout: Layout, options: ServerOptions) -> Path:
    """Return where a cluster's snapshots are."""
    return layout.data / (options.snapshot_dir or "snapshots")


def schedule(layout: Layout, options: ServerOptions) -> Schedule | None:
    """Return when snapshots are made; None if they are not.

    Raises:
        UsageError: The options make no sense.
    """
    if not options.snapshot_schedule_cron:
        return None
    if options.snapshot_retention < 1:
        raise UsageError(f"snapshot-retention is {options.snapshot_retention}: at least 1 has to be kept")
    try:
        times = cron.parse(options.snapshot_schedule_cron)
    except ValueError as err:
        raise UsageError(f"snapshot-schedule-cron {options.snapshot_schedule_cron!r}: {err}") from err
    return Schedule(times, options.snapshot_retention, folder(layout, options))


async def run(plan: Schedule, place: transfer.Place, clock: clocks.Clock) -> None:
    """Make snapshots at their times until cancelled; one that fails is reported, and the next one tried."""
    while True:
        now = clock.now()
        due = plan.times.next_after(now)
        if due is None:
            logger.error("the schedule of snapshots names no time that will come")
            return
        await clock.sleep((due - now).total_seconds())
        try:
            made = await save(place, plan.folder, due, kind=SCHEDULED)
        except StoreError as err:
            logger.error("the snapshot of %s failed: %s", due.isoformat(), err)
            continue
        logger.info("snapshot %s holds %d objects at revision %d", made.path, made.objects, made.revision)
        for old in outdated(find(plan.folder), plan.keep):
            old.unlink(missing_ok=True)
            logger.info("snapshot %s is deleted: %d newer ones are kept", old, plan.keep)


async def save(place: transfer.Place, folder: Path, now: datetime.datetime, *, kind: str = MANUAL) -> snapshots.Info:
    """Make a snapshot under a name that says when."""
    return await transfer.save(place, folder / f"{kind}-{now.astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}{SUFFIX}")


def find(folder: Path) -> list[Path]:
    """Return the snapshots of a folder, the oldest first."""
    found = [path for path in folder.glob(f"*{SUFFIX}") if path.name.startswith((f"{MANUAL}-", f"{SCHEDULED}-"))]
    return sorted(found, key=lambda path: path.name.partition("-")[2])


def outdated(found: list[Path], keep: int) -> list[Path]:
    """Return the scheduled ones that are too many; those that somebody asked for stay."""
    scheduled = [path for path in found if path.name.startswith(f"{SCHEDULED}-")]
    return scheduled[: max(0, len(scheduled) - keep)]


def place_of(layout: Layout, options: ServerOptions, *, otherwise: str) -> transfer.Place:
    """Return the store of a cluster."""
    return to_place(options, layout, otherwise=otherwise)
