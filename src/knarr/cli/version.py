"""`knarr version`: which Knarr, serving which Kubernetes."""

import argparse

from knarr import KUBERNETES_VERSION, __version__
from knarr.cli import options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print both versions."""
    if arguments.output == "json":
        options.print_json({"knarr": __version__, "kubernetes": f"v{KUBERNETES_VERSION}"})
    else:
        print(f"knarr {__version__}, serving Kubernetes v{KUBERNETES_VERSION}")
    return 0
