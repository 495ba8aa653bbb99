"""Where a cluster keeps its files on one machine.

Everything durable is below the data folder (0700), everything that dies with the machine's boot below the run folder.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from knarr.cluster.errors import UsageError

DEFAULT_NAME = "default"
HOME = Path("/var/lib/knarr")
RUN = Path("/run/knarr")
NAME_LIMIT = 24
"""Longest cluster name: it becomes part of nft table names, cgroup names and socket paths."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files of one cluster.

    Attributes:
        name: The cluster's name, a DNS label of at most 24 characters.
        data: `/var/lib/knarr/NAME`.
        run: `/run/knarr/NAME`.
    """

    name: str
    data: Path
    run: Path

    @classmethod
    def of(cls, name: str) -> "Layout":
        """Locate the cluster `name`; `KNARR_HOME` and `KNARR_RUN` move the roots.

        Raises:
            UsageError: The name is not a DNS label of at most 24 characters.
        """
        if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) or len(name) > NAME_LIMIT:
            raise UsageError(
                f"cluster name {name!r}: expected at most {NAME_LIMIT} lower-case letters, digits and '-', "
                "starting and ending with a letter or digit"
            )
        return cls(name, home() / name, run_root() / name)

    @property
    def settings(self) -> Path:
        """The file that `cluster.settings` reads and writes."""
        return self.data / "cluster.json"

    @property
    def pki(self) -> Path:
        """Certificates and keys of the control plane."""
        return self.data / "pki"

    @property
    def database(self) -> Path:
        """The SQLite store."""
        return self.data / "server" / "state.db"

    @property
    def agent(self) -> Path:
        """The node agent's folder: its credentials, pods and plugins."""
        return self.data / "agent"

    @property
    def containerd(self) -> Path:
        """The root of the cluster's own containerd."""
        return self.data / "containerd"

    @property
    def logs(self) -> Path:
        """Log files of server, agent and containerd."""
        return self.data / "logs"

    @property
    def context(self) -> str:
        """The kubeconfig context, cluster and user name."""
        return f"knarr-{self.name}"

    def pid_file(self, process: str) -> Path:
        """Where `process` notes its pid."""
        return self.run / f"{process}.pid"

    def create(self) -> None:
        """Make the folders, all 0700."""
        for folder in (self.data, self.pki, self.database.parent, self.agent, self.containerd, self.logs, self.run):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)


def home() -> Path:
    """Return the folder that holds every cluster's data folder; a user who is not root has one of their own."""
    own = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "knarr"
    return Path(os.environ.get("KNARR_HOME") or (HOME if _is_root() else own))


def run_root() -> Path:
    """Return the folder that holds every cluster's run folder."""
    own = Path(os.environ.get("XDG_RUNTIME_DIR") or home() / ".run") / "knarr"
    return Path(os.environ.get("KNARR_RUN") or (RUN if _is_root() else own))


def _is_root() -> bool:
    return os.geteuid() == 0


def existing() -> list[str]:
    """Return the names of the clusters that have a data folder here, sorted."""
    return sorted(path.parent.name for path in home().glob("*/cluster.json"))
