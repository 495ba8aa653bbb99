"""`knarr store migrate`: move a cluster's objects from SQLite to etcd, or back."""

import argparse
import asyncio
from pathlib import Path

import msgspec

from knarr.cli import options
from knarr.cluster import lifecycle, serveroptions, settings, snapshots
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.store import transfer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    serveroptions.add_store_arguments(parser, store=False)
    parser.add_argument("action", choices=["migrate"])
    parser.add_argument(
        "--from",
        dest="source",
        metavar="STORE",
        help="sqlite:FILE or etcd://…; left out: the cluster's own store, and its server.json names the new one afterwards",
    )
    parser.add_argument("--to", dest="target", required=True, metavar="STORE", help="sqlite:FILE or etcd://…")
    parser.add_argument("--replace", action="store_true", help="what stands there already may go")


def run(arguments: argparse.Namespace) -> int:
    """Move."""
    layout = Layout.of(arguments.name)
    told = serveroptions.with_arguments(serveroptions.load(layout), arguments)
    if arguments.source is None:
        source = snapshots.place_of(layout, told, otherwise=settings.load(layout).store)
        if lifecycle.is_running(layout):
            raise UsageError(f"cluster {layout.name} is running: `knarr down --name {layout.name}` first")
    else:
        source = _place(arguments.source, told, layout)
    target = _place(arguments.target, told, layout)
    moved = asyncio.run(transfer.migrate(source, target, replace=arguments.replace))
    options.say(f"{len(moved.entries)} objects, which stood at revision {moved.revision}, are in {arguments.target}")
    if arguments.source is None:
        serveroptions.save(layout, msgspec.structs.replace(told, store=arguments.target))
        options.say(f"{layout.data / serveroptions.FILE} names the new store")
    return 0


def _place(text: str, told: serveroptions.ServerOptions, layout: Layout) -> transfer.Place:
    kind, _, path = text.partition(":")
    if kind == "sqlite" and path:
        text = f"sqlite:{Path(path.removeprefix('//')).absolute()}"  # a file as the shell means it
    return serveroptions.to_place(msgspec.structs.replace(told, store=text), layout, otherwise="")
