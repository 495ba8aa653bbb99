"""`knarr snapshot`: save a cluster's objects to a file, list such files, and restore one."""

import argparse
import asyncio
import datetime
from pathlib import Path

from knarr.cli import options
from knarr.cluster import lifecycle, serveroptions, settings, snapshots
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.store import snapshots as files
from knarr.store import transfer
from knarr.store.errors import StoreError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_output(parser)
    serveroptions.add_store_arguments(parser)
    parser.add_argument("action", choices=["save", "list", "restore", "check"])
    parser.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="the snapshot; save names one by itself if it is left out"
    )


def run(arguments: argparse.Namespace) -> int:
    """Save, list, check or restore."""
    layout = Layout.of(arguments.name)
    decided = settings.load(layout)
    told = serveroptions.with_arguments(serveroptions.load(layout), arguments)
    place = snapshots.place_of(layout, told, otherwise=decided.store)
    folder = snapshots.folder(layout, told)
    if arguments.action in ("restore", "check") and arguments.file is None:
        raise UsageError(f"knarr snapshot {arguments.action}: which file?")
    if arguments.action == "save":
        _show(arguments, [asyncio.run(_save(place, folder, arguments.file))])
    elif arguments.action == "list":
        _show(arguments, [_check(path) for path in snapshots.find(folder)])
    elif arguments.action == "check":
        _show(arguments, [files.check(arguments.file)])
    else:
        _restore(layout, place, arguments.file)
    return 0


async def _save(place: transfer.Place, folder: Path, file: Path | None) -> files.Info:
    if file is not None:
        return await transfer.save(place, file)
    return await snapshots.save(place, folder, datetime.datetime.now(datetime.UTC))


def _restore(layout: Layout, place: transfer.Place, file: Path) -> None:
    if lifecycle.is_running(layout):
        raise UsageError(f"cluster {layout.name} is running: `knarr down --name {layout.name}` first")
    kept = asyncio.run(transfer.restore(file, place))
    options.say(
        f"{file} is restored to {place.text or place.file}" + (f"; what was there is in {kept}" if kept else "")
    )


def _check(path: Path) -> files.Info | str:
    try:
        return files.check(path)
    except StoreError as err:
        return str(err)


def _show(arguments: argparse.Namespace, found: list[files.Info | str]) -> None:
    good = [one for one in found if isinstance(one, files.Info)]
    if arguments.output == "json":
        options.print_json([_to_json(one) for one in good])
    else:
        for one in good:
            made = datetime.datetime.fromtimestamp(one.time_s, datetime.UTC)
            print(
                f"{one.path}   {made:%Y-%m-%dT%H:%M:%SZ}   {one.objects} objects   revision {one.revision}   {one.size} bytes"
            )
    for bad in found:
        if isinstance(bad, str):
            options.say(bad)


def _to_json(one: files.Info) -> dict[str, object]:
    made = datetime.datetime.fromtimestamp(one.time_s, datetime.UTC)
    return {
        "path": str(one.path),
        "time": f"{made:%Y-%m-%dT%H:%M:%SZ}",
        "objects": one.objects,
        "revision": one.revision,
        "bytes": one.size,
    }
