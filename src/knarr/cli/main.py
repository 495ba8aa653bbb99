"""The `knarr` command: finds the subcommand, runs it, and turns what went wrong into one line and an exit code.

Progress goes to stderr, data to stdout. Exit codes are stable and documented in docs/reference/cli.md.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from knarr import __version__
from knarr.api import errors as api_errors
from knarr.client import errors as client_errors
from knarr.cluster import errors
from knarr.store import errors as store_errors

COMMANDS: dict[str, str] = {
    "up": "start a cluster, creating it if need be, and wait until it works",
    "down": "stop a cluster and leave nothing behind",
    "status": "show the clusters of this machine",
    "kubeconfig": "print or merge the administrator's kubeconfig",
    "load": "load images into a cluster",
    "snapshot": "save a cluster's objects to a file, list and check such files, restore one",
    "store": "move a cluster's objects from SQLite to etcd, or back",
    "token": "make a token with which another machine joins",
    "service": "have systemd start a cluster at boot and keep it running",
    "doctor": "check the machine",
    "server": "run the control plane in the foreground",
    "scheduler": "run the scheduler alone, against any cluster",
    "controllers": "run the controllers alone, against any cluster",
    "deschedule": "evict pods that would be better elsewhere, or only say which",
    "recommend": "propose requests for workloads from what they use",
    "why": "say why a pod, service, claim or deployment is not as it should be",
    "agent": "run the node agent in the foreground, or join another machine's cluster",
    "supervise": "keep server and agent running (what `up` starts in the background)",
    "version": "print the version",
}
"""Every subcommand, one module of this package each: `add_arguments(parser)` and `run(arguments) -> int`."""

OK, FAILED, USAGE, TIMEOUT, NOT_FOUND, HOST_UNFIT, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
_CODES: Sequence[tuple[type[Exception], int]] = (
    (errors.UsageError, USAGE),
    (errors.WaitTimeout, TIMEOUT),
    (errors.ClusterNotFound, NOT_FOUND),
    (errors.HostUnfit, HOST_UNFIT),
    (errors.ClusterError, FAILED),
    (store_errors.BadAddress, USAGE),
    (store_errors.StoreError, FAILED),
    (client_errors.BadKubeconfig, FAILED),
    (client_errors.KubeconfigLocked, FAILED),
    (client_errors.Unreachable, FAILED),
    (api_errors.StatusError, FAILED),
)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command line.

    Returns:
        The exit code. Usage errors leave through argparse with 2.
    """
    parser = argparse.ArgumentParser(prog="knarr", description="A complete Kubernetes platform in Python.")
    parser.add_argument("--version", action="version", version=f"knarr {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    module: ModuleType | None = None
    wanted = next((word for word in arguments if not word.startswith("-")), "")
    for name, summary in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == wanted:  # only the one that runs is imported: start-up counts
            module = importlib.import_module(f"knarr.cli.{name}")
            module.add_arguments(subparser)
    parsed = parser.parse_args(arguments)
    assert module is not None
    try:
        return int(module.run(parsed))
    except tuple(cls for cls, _ in _CODES) as err:
        print(f"knarr: {err}", file=sys.stderr)
        return next(code for cls, code in _CODES if isinstance(err, cls))
    except BrokenPipeError:
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
