"""`knarr up`: start a cluster, creating it if need be, and wait until it works."""

import argparse
import asyncio
import time
from pathlib import Path

from knarr.cli import joining, options
from knarr.client import kubeconfig
from knarr.cluster import credentials, doctor, lifecycle, serveroptions, simulated
from knarr.cluster.layout import Layout

WAIT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_kubeconfig(parser)
    options.add_output(parser)
    joining.add_arguments(parser)
    joining.add_names(parser)
    serveroptions.add_arguments(parser)
    parser.add_argument(
        "--wait",
        type=options.seconds,
        default=WAIT_S,
        metavar="SECONDS",
        help="how long to wait until the cluster works, such as 90 or 2m; 0 does not wait (default: 120)",
    )

    parser.add_argument(
        "--simulated",
        type=int,
        default=0,
        metavar="N",
        help="N simulated nodes in place of this machine: needs no root and no containerd, and runs nothing",
    )
    parser.add_argument(
        "--disable-agent",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="only a server: this machine is no node",
    )
    parser.add_argument("--stages", metavar="FILE", help="how simulated pods are played: a file of Stages")


def run(arguments: argparse.Namespace) -> int:
    """Bring the cluster up; running it again changes nothing."""
    layout = Layout.of(arguments.name)
    began = time.monotonic()
    for finding in doctor.examine(layout, simulated=arguments.simulated > 0 or bool(arguments.disable_agent)):
        if finding.verdict is doctor.Verdict.WARNING:
            options.say(f"warning: {finding.check}: {finding.detail}; {finding.fix}")
    joining.join(layout, arguments)
    told = lifecycle.keep_options(layout, arguments)
    decided = lifecycle.prepare(
        layout,
        simulated=arguments.simulated,
        is_node=None if arguments.disable_agent is None else not arguments.disable_agent,
        names=arguments.tls_san,
        store=told.store,
    )
    if arguments.stages:
        simulated.keep_stages(layout, Path(arguments.stages))
    if lifecycle.start(layout):
        options.say(f"starting cluster {layout.name}")
    else:
        options.say(f"cluster {layout.name} is running already")
        if arguments.simulated or arguments.stages:
            lifecycle.stop_process(layout, "agent")  # the supervisor starts it again, with what is new
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    if not decided.is_joined:
        kubeconfig.merge(path, credentials.admin_kubeconfig(layout, decided))
    if arguments.wait:
        waiting = lifecycle.wait_ready(layout, decided, timeout_s=arguments.wait, progress=options.say)
        asyncio.run(waiting)
    if arguments.output == "json":
        options.print_json(
            {
                "name": layout.name,
                "server": decided.server_url,
                "context": "" if decided.is_joined else layout.context,
                "kubeconfig": "" if decided.is_joined else str(path),
                "node": decided.node_name,
                "seconds": round(time.monotonic() - began, 3),
            }
        )
    elif decided.is_joined:
        options.say(f"node {decided.node_name} works; `kubectl` is used where the server is")
    else:
        options.say(f"context {layout.context} is in {path}; try `kubectl get nodes`")
    return 0
