"""`knarr doctor`: what stands in a cluster's way on this machine."""

import argparse

from knarr.cli import options
from knarr.cluster import doctor
from knarr.cluster.layout import Layout

EXIT_UNFIT = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    options.add_name(parser)
    options.add_output(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; 5 if one of them keeps a cluster from starting."""
    findings = doctor.examine(Layout.of(arguments.name))
    if arguments.output == "json":
        options.print_json(
            [{"check": f.check, "verdict": f.verdict.value, "detail": f.detail, "fix": f.fix} for f in findings]
        )
    else:
        for finding in findings:
            fix = f"\n           fix: {finding.fix}" if finding.fix else ""
            print(f"{finding.verdict.value:8} {finding.check}: {finding.detail}{fix}")
    return EXIT_UNFIT if any(f.verdict is doctor.Verdict.FAILED for f in findings) else 0
