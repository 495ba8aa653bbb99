"""The units are such as systemd takes, and shut the server in."""

import shutil
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace

from knarr.cluster import settings, units
from knarr.cluster.errors import ClusterError
from knarr.cluster.layout import Layout

LAYOUT = Layout("prod", Path("/var/lib/knarr/prod"), Path("/run/knarr/prod"))
DECIDED = settings.plan("prod", 0, node_name="n1", advertise_address="192.0.2.1")


def plan(**environment: str) -> dict[str, str]:
    return units.plan(LAYOUT, DECIDED, python="/usr/bin/python3", environment=environment)


def test_a_machine_that_joined_has_an_agent_only() -> None:
    assert list(plan()) == ["knarr-prod-server.service", "knarr-prod-agent.service"]
    joined = replace(DECIDED, server="https://192.0.2.9:6443")
    assert list(units.names(LAYOUT, joined)) == ["agent"]


def test_the_agent_starts_after_the_server_and_leaves_containers_alone() -> None:
    server, agent = plan().values()
    assert "After=network-online.target knarr-prod-server.service" in agent
    assert "KillMode=process" in agent
    assert "NoNewPrivileges=yes" in server
    assert "NoNewPrivileges" not in agent, "containers would inherit it"
    for unit in (server, agent):
        assert "Restart=always" in unit
        assert "WantedBy=multi-user.target" in unit


def test_the_environment_is_kept_as_it_is() -> None:
    (server, _) = plan(KNARR_LOG='a"b%c').values()
    assert 'Environment="KNARR_LOG=a\\"b%%c"' in server


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian package systemd)")
def test_systemd_takes_the_units(tmp_path: Path) -> None:
    for name, content in plan(KNARR_HOME="/srv/knarr").items():
        (tmp_path / name).write_text(content)
    command = ["systemd-analyze", "verify", "--recursive-errors=no", *map(str, sorted(tmp_path.glob("*.service")))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Unknown" not in done.stderr
    assert "knarr-prod" not in done.stderr
    assert done.returncode == 0, done.stderr
    (tmp_path / "knarr-prod-server.service").write_text(plan()["knarr-prod-server.service"] + "Bogus=yes\n")
    bad = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "Unknown key" in bad.stderr, "systemd-analyze finds faults at all"


def test_without_systemd_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(units, "BOOTED", tmp_path / "absent")
    with pytest.raises(ClusterError, match=r"not started by systemd.*knarr up"):
        units.install(LAYOUT, DECIDED)
