"""`knarr down`: stop a cluster and leave nothing behind on the machine."""

import argparse
import asyncio
from pathlib import Path

from knarr.cli import options
from knarr.client import kubeconfig
from knarr.cluster import lifecycle
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_kubeconfig(parser)
    parser.add_argument("--delete", action="store_true", help="also delete the data folder: objects, images, logs")


def run(arguments: argparse.Namespace) -> int:
    """Stop the processes, the pods and what they used; with --delete forget the cluster."""
    layout = Layout.of(arguments.name)
    asyncio.run(lifecycle.stop(layout, progress=options.say))
    if arguments.delete:
        lifecycle.delete(layout)
        path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
        kubeconfig.remove(path, layout.context)
        options.say(f"cluster {layout.name} is deleted")
    else:
        options.say(f"cluster {layout.name} is stopped; `knarr up --name {layout.name}` brings it back")
    return 0
