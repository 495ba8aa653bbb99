"""`knarr service`: systemd starts the cluster of this machine at boot and keeps it running."""

import argparse
import os
import sys

from knarr.cli import options
from knarr.cluster import lifecycle, settings, units
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_output(parser)
    parser.add_argument("action", choices=["install", "uninstall", "status"])
    parser.add_argument("--print", action="store_true", help="with install: only print the units")
    parser.add_argument("--no-start", action="store_true", help="with install: start them at the next boot, not now")


def run(arguments: argparse.Namespace) -> int:
    """Install, uninstall or look; 1 if `status` finds a unit that does not run."""
    layout = Layout.of(arguments.name)
    if arguments.action == "install":
        return _install(layout, arguments)
    decided = settings.load(layout)
    if arguments.action == "uninstall":
        for unit in units.uninstall(layout, decided):
            options.say(f"{unit} is removed")
        return 0
    found = units.states(layout, decided)
    if arguments.output == "json":
        options.print_json(
            [{"unit": one.unit, "active": one.active, "enabled": one.enabled, "pid": one.pid} for one in found]
        )
    else:
        for one in found:
            print(f"{one.unit}   {one.active}   {'enabled' if one.enabled else 'disabled'}   pid {one.pid or '-'}")
    return 0 if all(one.active == "active" for one in found) else 1


def _install(layout: Layout, arguments: argparse.Namespace) -> int:
    if not arguments.print:
        units.require_systemd()
    decided = settings.load(layout) if layout.settings.exists() else lifecycle.prepare(layout)
    if arguments.print:
        kept = {name: os.environ[name] for name in units.KEPT if name in os.environ}
        for unit, content in units.plan(layout, decided, python=sys.executable, environment=kept).items():
            print(f"# {units.FOLDER / unit}\n{content}")
        return 0
    lifecycle.end_processes(layout)  # of `knarr up`: pods keep running
    for unit in units.install(layout, decided):
        options.say(f"{unit} is installed")
    if not arguments.no_start:
        units.start(layout, decided)
    return 0
