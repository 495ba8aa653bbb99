"""Options that several commands share, and how they print."""

import argparse
import json
import re
import sys
from typing import Any

from knarr.cluster.layout import DEFAULT_NAME


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add `--name`: which cluster."""
    parser.add_argument("--name", default=DEFAULT_NAME, metavar="NAME", help="the cluster (default: %(default)s)")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `-o json`."""
    parser.add_argument("-o", "--output", choices=["json"], help="print data as JSON")


def add_kubeconfig(parser: argparse.ArgumentParser) -> None:
    """Add `--kubeconfig`."""
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="that file only (default: the first of $KUBECONFIG, else ~/.kube/config)"
    )


def seconds(text: str) -> float:
    """Parse a duration: seconds, or a number with s, m or h.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r}: expected seconds, or a number followed by s, m or h")
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600}[match[2]]


def print_json(value: Any) -> None:
    """Print data on stdout."""
    print(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print progress on stderr, at once."""
    print(text, file=sys.stderr, flush=True)
