"""`knarr server`: the control plane in the foreground."""

import argparse

from knarr.cli import joining, options
from knarr.cluster import control_plane, lifecycle, process, serveroptions
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    joining.add_arguments(parser)
    joining.add_names(parser)
    serveroptions.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    layout = Layout.of(arguments.name)
    if arguments.server and not arguments.certificate_key:
        raise UsageError(
            "a server joins servers with --certificate-key: `knarr token create --control-plane` prints all"
        )
    joining.join(layout, arguments)
    told = serveroptions.with_arguments(serveroptions.load(layout), arguments)
    decided = lifecycle.prepare(layout, server_only=True, names=arguments.tls_san, store=told.store)
    process.run(
        "server",
        lambda stopping: control_plane.serve(layout, decided, stopping, told),
        pid_file=layout.pid_file("server"),
    )
    return 0
