"""`knarr server`: the control plane in the foreground."""

import argparse

from knarr.cli import options
from knarr.cluster import control_plane, lifecycle, process, serveroptions
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    serveroptions.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    layout = Layout.of(arguments.name)
    decided = lifecycle.prepare(layout, is_node=False)
    told = serveroptions.with_arguments(serveroptions.load(layout), arguments)
    process.run(
        "server",
        lambda stopping: control_plane.serve(layout, decided, stopping, told),
        pid_file=layout.pid_file("server"),
    )
    return 0
