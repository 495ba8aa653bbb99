"""`knarr load archive FILE.tar`: images into a cluster's containerd, without a registry."""

import argparse
import asyncio
from pathlib import Path

from knarr.cli import options
from knarr.cluster import images, node, settings
from knarr.cluster.errors import ClusterError
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_output(parser)
    parser.add_argument("source", choices=["archive"], help="what to load from")
    parser.add_argument("files", nargs="+", metavar="FILE.tar", help="OCI or Docker archives")


def run(arguments: argparse.Namespace) -> int:
    """Import every archive and print the names of the images."""
    layout = Layout.of(arguments.name)
    settings.load(layout)
    socket = node.containerd_config(layout).socket
    if not socket.exists():
        raise ClusterError(f"cluster {layout.name} does not run: `knarr up --name {layout.name}`")
    names = [name for file in arguments.files for name in asyncio.run(images.load_archive(socket, Path(file)))]
    if arguments.output == "json":
        options.print_json(names)
    else:
        for name in names:
            print(name)
    return 0
