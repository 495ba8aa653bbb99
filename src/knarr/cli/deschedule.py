"""`knarr deschedule`: evict pods that would be better elsewhere, once, or only say which."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

from knarr import __version__
from knarr.cli import options
from knarr.client import Client, kubeconfig
from knarr.cluster.errors import UsageError
from knarr.control import informer
from knarr.controllers import deschedule, descheduler
from knarr.controllers.deschedule_view import Limits

NAME = "descheduler"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_kubeconfig(parser)
    options.add_output(parser)
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say which pods should move")
    parser.add_argument(
        "--strategies",
        metavar="LIST",
        help=f"which, with commas (default: {','.join(deschedule.STRATEGIES)})",
    )
    parser.add_argument(
        "--idle", type=float, default=20.0, metavar="PERCENT", help="nodes below are idle (default: 20)"
    )
    parser.add_argument(
        "--busy", type=float, default=50.0, metavar="PERCENT", help="nodes above are busy (default: 50)"
    )
    parser.add_argument("--max-per-node", type=int, metavar="N", help="most pods that leave one node")
    parser.add_argument("--max", type=int, metavar="N", help="most pods that move")
    parser.add_argument("--local-storage", action="store_true", help="move pods with emptyDir or hostPath volumes, too")
    parser.add_argument("--bare", action="store_true", help="evict pods that nobody makes anew, too")


def run(arguments: argparse.Namespace) -> int:
    """Look once, evict, and tell."""
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    strategies = [word.strip() for word in arguments.strategies.split(",")] if arguments.strategies else None
    unknown = [name for name in strategies or () if name not in deschedule.STRATEGIES]
    if unknown:
        raise UsageError(f"--strategies: {unknown[0]!r} is none of {', '.join(deschedule.STRATEGIES)}")
    limits = Limits(
        per_node=arguments.max_per_node,
        total=arguments.max,
        local_storage=arguments.local_storage,
        bare=arguments.bare,
    )
    thresholds = deschedule.Thresholds(arguments.idle, arguments.busy)
    found = asyncio.run(
        work(path, limits, thresholds, strategies, context=arguments.context, dry_run=arguments.dry_run)
    )
    if arguments.output == "json":
        options.print_json(found)
    else:
        for line in format_lines(found):
            print(line)
    return 0


async def work(
    path: Path,
    limits: Limits,
    thresholds: deschedule.Thresholds,
    strategies: list[str] | None,
    *,
    context: str = "",
    dry_run: bool = False,
) -> list[dict[str, Any]]:
    """Look at the cluster of a kubeconfig and evict what should move.

    Args:
        path: The kubeconfig.
        limits: What is left alone.
        thresholds: For the use of nodes.
        strategies: Which; None takes all.
        context: Of the kubeconfig; empty takes the current one.
        dry_run: Evict nothing.

    Returns:
        For each pod: namespace, name, node, strategy, reason, fits, and, if it stays, why.
    """
    transport = kubeconfig.to_transport(path, context)
    client = Client(transport, user_agent=f"{NAME}/v{__version__}")
    try:
        found = []
        evictions = await descheduler.look(client, limits=limits, thresholds=thresholds, strategies=strategies)
        for one in evictions:
            namespace, name = informer.key_of(one.pod)
            refused = None if dry_run else await descheduler.evict(client, one)
            told = {"namespace": namespace, "name": name, "node": one.node, "strategy": one.strategy}
            told |= {"reason": one.why, "fits": one.taker}
            found.append({**told, "refused": refused} if refused is not None else told)
        return found
    finally:
        await transport.aclose()


def format_lines(found: list[dict[str, Any]]) -> list[str]:
    """Write one line a pod."""
    lines = []
    for one in found:
        line = f"{one['namespace']}/{one['name']} on {one['node']}: {one['reason']} ({one['strategy']}; fits on {one['fits']})"
        lines.append(f"{line}; stays: {one['refused']}" if "refused" in one else line)
    return lines or ["every pod is where it should be"]
