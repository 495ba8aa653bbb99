"""Options that several commands share, and how they print."""

import argparse
import json
import sys
from typing import Any

from knarr.cluster.layout import DEFAULT_NAME


def add_name(parser: argparse.ArgumentParser) -> None:
    """Add `--name`: which cluster."""
    parser.add_argument("--name", default=DEFAULT_NAME, metavar="NAME", help="the cluster (default: %(default)s)")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add `-o json`."""
    parser.add_argument("-o", "--output", choices=["json"], help="print data as JSON")


def print_json(value: Any) -> None:
    """Print data on stdout."""
    print(json.dumps(value, indent=2))


def say(text: str) -> None:
    """Print progress on stderr, at once."""
    print(text, file=sys.stderr, flush=True)
