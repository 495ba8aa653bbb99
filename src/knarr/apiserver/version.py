"""/version: which release this is, in upstream's form."""

import hashlib
import platform
import sys
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import knarr


@cache
def info() -> dict[str, str]:
    """Return the version of the API served and of the program that serves it."""
    major, minor, _ = knarr.KUBERNETES_VERSION.split(".")
    here = Path(knarr.__file__)
    built = datetime.fromtimestamp(here.stat().st_mtime, UTC)
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"v{knarr.KUBERNETES_VERSION}+knarr",
        "gitCommit": hashlib.sha1(knarr.__version__.encode(), usedforsecurity=False).hexdigest(),
        "gitTreeState": "clean",
        "buildDate": built.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "goVersion": f"python{platform.python_version()}",
        "compiler": sys.implementation.name,
        "platform": f"linux/{_ARCHITECTURES.get(platform.machine(), platform.machine())}",
    }


_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
