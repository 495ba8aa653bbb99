"""`knarr status`: the clusters of this machine and how they are."""

import argparse
import asyncio
from typing import Any

from knarr.cli import options
from knarr.cluster import layout as layouts
from knarr.cluster import report
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument("--name", metavar="NAME", help="only this cluster (default: all)")
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print a line a cluster; 1 if one that should run does not."""
    names = [arguments.name] if arguments.name else layouts.existing()
    found = [asyncio.run(report.describe(Layout.of(name))) for name in names]
    if arguments.output == "json":
        options.print_json([report.to_data(one) for one in found])
    else:
        rows = [("NAME", "STATE", "SERVER", "NODES", "PODS"), *(_row(one) for one in found)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        for row in rows:
            print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for one in found:
            for problem in one.problems:
                print(f"{one.name}: {problem}")
    return 1 if any(one.problems for one in found) else 0


def _row(one: report.Report) -> tuple[Any, ...]:
    nodes = f"{one.nodes_ready}/{one.nodes}" if one.nodes else "-"
    pods = f"{one.pods_running}/{one.pods}" if one.nodes else "-"
    return (one.name, one.state, one.server, nodes, pods)
