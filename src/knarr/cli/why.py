"""`knarr why KIND/NAME`: why something is not as it should be, and what would mend it."""

import argparse
import asyncio
from pathlib import Path

from knarr.cli import options
from knarr.client import Client, kubeconfig
from knarr.cluster import errors
from knarr.scheduler import why


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    kinds = ", ".join(why.KINDS)
    parser.add_argument("target", metavar="KIND/NAME", help=f"what to explain; KIND is one of {kinds}")
    parser.add_argument("-n", "--namespace", default="default", help="where it is (default: %(default)s)")
    options.add_kubeconfig(parser)
    parser.add_argument(
        "--context", default="", metavar="NAME", help="context of the kubeconfig (default: the current one)"
    )
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; 0 also if something is wrong."""
    kind, _, name = arguments.target.partition("/")
    kind = why.ALIASES.get(kind.lower(), kind.lower())
    if kind not in why.KINDS or not name or "/" in name:
        raise errors.UsageError(f"{arguments.target}: expected KIND/NAME, with KIND one of {', '.join(why.KINDS)}")
    path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
    answer = asyncio.run(ask(path, arguments.context, kind, arguments.namespace, name))
    if arguments.output == "json":
        options.print_json(answer.to_json())
    else:
        print("\n".join(answer.lines()))
    return 0


async def ask(path: Path, context: str, kind: str, namespace: str, name: str) -> why.Answer:
    """Ask the cluster of a kubeconfig."""
    transport = kubeconfig.to_transport(path, context)
    try:
        return await why.explain(Client(transport), kind, namespace, name)
    finally:
        await transport.aclose()
