"""`knarr agent`: the node agent, service proxy and cluster DNS of this machine in the foreground."""

import argparse

from knarr.cli import options
from knarr.cluster import lifecycle, node, process
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; containers keep running afterwards."""
    layout = Layout.of(arguments.name)
    decided = lifecycle.prepare(layout)
    process.run("agent", lambda stopping: node.serve(layout, decided, stopping))
    return 0
