"""`knarr agent`: the node agent, service proxy and cluster DNS of this machine in the foreground; joins a cluster first if told to."""

import argparse

from knarr.cli import joining, options
from knarr.cluster import lifecycle, node, process, simulated
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    joining.add_arguments(parser)
    parser.add_argument("--simulated", type=int, default=0, metavar="N", help="play N nodes instead of being one")
    parser.add_argument(
        "--group", default="extra", metavar="NAME", help="what the names of these begin with (default: %(default)s)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; containers keep running afterwards."""
    layout = Layout.of(arguments.name)
    joining.join(layout, arguments)
    decided = lifecycle.prepare(layout)
    if arguments.simulated or decided.simulated:
        # Those that the cluster began with take the node agent's place and port; others come beside it.
        fleet = simulated.fleet_of(decided, count=decided.simulated, port=decided.node_port)
        if arguments.simulated:
            fleet = simulated.fleet_of(decided, count=arguments.simulated, group=arguments.group)
        own = None if arguments.simulated else layout.pid_file("agent")
        process.run("agent", lambda stopping: simulated.serve(layout, decided, fleet, stopping), pid_file=own)
        return 0
    process.run("agent", lambda stopping: node.serve(layout, decided, stopping), pid_file=layout.pid_file("agent"))
    return 0
