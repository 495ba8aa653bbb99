"""`knarr kubeconfig`: the administrator's kubeconfig, printed or merged into a file."""

import argparse
import sys
from pathlib import Path

import yaml

from knarr.cli import options
from knarr.client import kubeconfig
from knarr.cluster import access, credentials, settings
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_kubeconfig(parser)
    options.add_output(parser)
    parser.add_argument("--merge", action="store_true", help="merge into the kubeconfig file instead of printing")


def run(arguments: argparse.Namespace) -> int:
    """Print the kubeconfig, or merge it and make its context the current one."""
    layout = Layout.of(arguments.name)
    decided = settings.load(layout)
    access.require_server(layout, decided)
    config = credentials.admin_kubeconfig(layout, decided)
    if arguments.merge or arguments.kubeconfig:
        path = Path(arguments.kubeconfig) if arguments.kubeconfig else kubeconfig.default_path()
        kubeconfig.merge(path, config)
        options.say(f"context {layout.context} is in {path}")
    elif arguments.output == "json":
        options.print_json(config)
    else:
        yaml.safe_dump(config, sys.stdout, sort_keys=False)
    return 0
