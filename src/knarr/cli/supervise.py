"""`knarr supervise`: keeps a cluster's processes running; started in the background by `knarr up`."""

import argparse
import sys

from knarr.cli import options
from knarr.cluster import settings, supervisor
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)


def run(arguments: argparse.Namespace) -> int:
    """Supervise until told to stop."""
    layout = Layout.of(arguments.name)
    command = [sys.executable, "-m", "knarr"]
    children = [
        supervisor.Child(process, [*command, process, "--name", layout.name])
        for process in settings.load(layout).processes
    ]
    supervisor.Supervisor(children, logs=layout.logs, run=layout.run).run()
    return 0
