"""The systemd units of a cluster on this machine: one for its server, one for its agent, each started at boot and kept running.

They take the place of `knarr supervise`. The server needs nothing of the machine but its own folders and the network, and gets no more.
The agent makes namespaces, mounts and programs the kernel, so it can be shut in less; containers are not ended with it.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knarr.cluster.errors import ClusterError
from knarr.cluster.layout import Layout
from knarr.cluster.settings import Settings

FOLDER = Path("/etc/systemd/system")
BOOTED = Path("/run/systemd/system")
"""Exists where systemd is process 1 (sd_booted(3))."""
KEPT = ("KNARR_HOME", "KNARR_RUN", "KNARR_LOG")
"""What of the environment of `knarr service install` the units keep."""
COMMAND_TIMEOUT_S = 90.0
AGENT = (
    # Containers, their shims and containerd outlive the agent, and their groups are its own affair.
    "KillMode=process",
    "Delegate=yes",
    "TasksMax=infinity",
    "LimitNPROC=infinity",
    "LimitCORE=infinity",
    "OOMScoreAdjust=-999",
    "RestrictRealtime=yes",
    "LockPersonality=yes",
    "SystemCallArchitectures=native",
    "UMask=0022",
)
"""NoNewPrivileges is not among them: containers inherit it, and some of them have set-user-id programs."""


@dataclass(frozen=True, slots=True)
class State:
    """How a unit is.

    Attributes:
        unit: Its name.
        active: "active", "inactive", "failed", "activating" …
        enabled: Whether it starts at boot.
        pid: Of its main process; 0 if there is none.
    """

    unit: str
    active: str
    enabled: bool
    pid: int


def names(layout: Layout, decided: Settings) -> dict[str, str]:
    """Return the name of the unit of each process of a cluster."""
    return {process: f"knarr-{layout.name}-{process}.service" for process in decided.processes}


def plan(layout: Layout, decided: Settings, *, python: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the units: file name to content.

    Args:
        layout: Whose.
        decided: What it is made of.
        python: The interpreter that has Knarr.
        environment: Variables for the processes.
    """
    units = names(layout, decided)
    wanted = {"server": _server(layout), "agent": AGENT}
    return {
        unit: _format(layout, process, wanted[process], python=python, environment=environment)
        for process, unit in units.items()
    }


def is_installed(layout: Layout, decided: Settings, folder: Path | None = None) -> bool:
    """Return whether systemd looks after a cluster."""
    return all(((folder or FOLDER) / unit).exists() for unit in names(layout, decided).values())


def install(layout: Layout, decided: Settings) -> list[str]:
    """Write the units and have them started now and at boot.

    Returns:
        The names of the units.

    Raises:
        ClusterError: The machine has no systemd, or it refuses.
    """
    require_systemd()
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    planned = plan(layout, decided, python=sys.executable, environment=kept)
    for unit, content in planned.items():
        (FOLDER / unit).write_text(content)
    control("daemon-reload")
    control("enable", *planned)
    return list(planned)


def uninstall(layout: Layout, decided: Settings) -> list[str]:
    """Stop the units and remove them; containers keep running until `knarr down`.

    Raises:
        ClusterError: The machine has no systemd, or it refuses.
    """
    require_systemd()
    found = [unit for unit in names(layout, decided).values() if (FOLDER / unit).exists()]
    if found:
        control("disable", "--now", *found)
        for unit in found:
            (FOLDER / unit).unlink()
        control("daemon-reload")
    return found


def start(layout: Layout, decided: Settings) -> None:
    """Start the units, if they do not run."""
    control("start", *names(layout, decided).values())


def stop(layout: Layout, decided: Settings) -> None:
    """Stop the units, the agent first; they start again at boot."""
    for unit in reversed(names(layout, decided).values()):
        control("stop", unit)


def states(layout: Layout, decided: Settings) -> list[State]:
    """Ask systemd how the units are."""
    require_systemd()
    found = []
    for unit in names(layout, decided).values():
        shown = control("show", unit, "--property=ActiveState,UnitFileState,MainPID")
        values = dict(line.partition("=")[::2] for line in shown.splitlines())
        pid = int(values.get("MainPID") or 0)
        found.append(State(unit, values.get("ActiveState", ""), values.get("UnitFileState") == "enabled", pid))
    return found


def require_systemd() -> None:
    """Check that systemd runs this machine.

    Raises:
        ClusterError: It does not.
    """
    if not BOOTED.is_dir():
        raise ClusterError(
            "this machine was not started by systemd, so there is nobody to look after services; "
            "`knarr up` keeps the cluster running until the machine stops"
        )


def control(*words: str) -> str:
    """Run systemctl and return what it prints.

    Raises:
        ClusterError: It fails.
    """
    try:
        done = subprocess.run(
            ["systemctl", "--no-pager", *words], capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ClusterError(f"systemctl {words[0]}: {err}") from err
    if done.returncode != 0:
        raise ClusterError(f"systemctl {' '.join(words)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def _server(layout: Layout) -> Sequence[str]:
    return (
        "KillMode=mixed",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        f"ReadWritePaths={layout.data} {layout.run}",
        "ProtectHome=read-only",
        "ProtectClock=yes",
        "ProtectControlGroups=yes",
        "ProtectHostname=yes",
        "ProtectKernelLogs=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelTunables=yes",
        "PrivateDevices=yes",
        "PrivateTmp=yes",
        "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "SystemCallArchitectures=native",
        "SystemCallFilter=@system-service",
        "UMask=0077",
    )


def _format(layout: Layout, process: str, own: Sequence[str], *, python: str, environment: Mapping[str, str]) -> str:
    what = {"server": "control plane", "agent": "node agent"}[process]
    after = "network-online.target"
    if process == "agent":
        after += f" knarr-{layout.name}-server.service"
    lines = [
        "# Made by `knarr service install`; `knarr service uninstall` takes it away.",
        "[Unit]",
        f"Description=Knarr {what} of cluster {layout.name}",
        "Documentation=https://kubernetes.io/docs/",
        "Wants=network-online.target",
        f"After={after}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        *(f'Environment="{name}={_escape(value)}"' for name, value in environment.items()),
        f"ExecStartPre=+/usr/bin/install -d -m 0700 {layout.data} {layout.run}",
        f"ExecStart={python} -m knarr {process} --name {layout.name}",
        "Restart=always",
        "RestartSec=1",
        "TimeoutStopSec=30",
        "LimitNOFILE=1048576",
        *own,
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
