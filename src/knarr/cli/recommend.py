"""`knarr recommend [KIND/NAME]`: what workloads should request, from what they use."""

import argparse
import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from knarr.cli import options
from knarr.client import Client, kubeconfig
from knarr.cluster import errors
from knarr.controllers import recommender

PERIOD_S = 15.0
"""A sample is taken this often: as often as metrics servers take theirs."""
HEADER = ("WORKLOAD", "CONTAINER", "RESOURCE", "REQUESTS", "LOWER", "TARGET", "UPPER", "DAYS")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.add_argument(
        "target", nargs="?", default="", metavar="KIND/NAME", help="only this one, such as deployment/web"
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument("-n", "--namespace", default="default", help="where (default: %(default)s)")
    where.add_argument("-A", "--all-namespaces", action="store_true", help="everywhere")
    parser.add_argument(
        "--now", action="store_true", help="look at what is used right now, whatever was proposed before"
    )
    parser.add_argument(
        "--watch",
        type=options.seconds,
        default=0.0,
        metavar="TIME",
        help="look for so long, such as 10m; implies --now",
    )
    options.add_kubeconfig(parser)
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)"
    )
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print proposals; 0 also if there are none."""
    if arguments.target and not all(arguments.target.partition("/")):
        raise errors.UsageError(f"{arguments.target}: expected KIND/NAME, such as deployment/web")
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    namespace = "" if arguments.all_namespaces else arguments.namespace
    is_now = arguments.now or arguments.watch > 0
    found = asyncio.run(ask(path, arguments.context, namespace, watch_s=arguments.watch, is_now=is_now))
    found = [one for one in found if is_meant(one, arguments.target)]
    if arguments.output == "json":
        options.print_json(found)
    else:
        print("\n".join(format_lines(found)))
    return 0


async def ask(path: Path, context: str, namespace: str, *, watch_s: float, is_now: bool) -> list[dict[str, Any]]:
    """Return proposals: those of a recommender that runs in the cluster, else from what is used right now.

    Args:
        path: The kubeconfig.
        context: Of it; empty takes the current one.
        namespace: Where; empty means everywhere.
        watch_s: How long to look.
        is_now: Look at what is used even if there are proposals.
    """
    transport = kubeconfig.to_transport(path, context)
    client = Client(transport)
    try:
        if not is_now and (written := await recommender.proposals(client, namespace)):
            return written
        observations, ends_s = recommender.Observations(), time.monotonic() + watch_s
        await recommender.look(client, observations, time.time())
        while (left_s := ends_s - time.monotonic()) > 0:
            await asyncio.sleep(min(PERIOD_S, left_s))
            await recommender.look(client, observations, time.time())
        now = datetime.now(UTC)
        return [observations.proposal(one, now) for one in observations.usages if namespace in ("", one.namespace)]
    finally:
        await transport.aclose()


def is_meant(proposal: dict[str, Any], target: str) -> bool:
    """Tell whether a proposal is for KIND/NAME; the kind in any case, singular or plural."""
    kind, _, name = target.lower().partition("/")
    return not target or (kind.removesuffix("s"), name) == (
        str(proposal["kind"]).lower().removesuffix("s"),
        proposal["name"],
    )


def format_lines(found: Iterable[dict[str, Any]]) -> list[str]:
    """Write a table: a line for each resource of each container."""
    rows = [HEADER]
    for one in found:
        workload = f"{one['namespace']}/{str(one['kind']).lower()}/{one['name']}"
        for container in one["containerRecommendations"]:
            for resource in ("cpu", "memory"):
                bounds = (container[name][resource] for name in ("lowerBound", "target", "upperBound"))
                requests = container.get("requests", {}).get(resource, "-")
                days = f"{container['confidenceDays']:.3f}"
                rows.append((workload, container["containerName"], resource, requests, *bounds, days))
    if len(rows) == 1:
        return ["nothing is known of what these workloads use"]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
