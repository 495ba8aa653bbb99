"""The log file: new files when one is full, old ones forgotten."""

from pathlib import Path

from knarr.apiserver.audit.logfile import LogFile
from knarr.kit.clock import FakeClock

LINE = b"x" * 600_000 + b"\n"


async def test_full_files_are_renamed_and_the_oldest_forgotten(tmp_path: Path) -> None:
    clock = FakeClock()
    log = LogFile(tmp_path / "audit.log", clock, max_size_mb=1, max_backups=2)
    for _ in range(5):
        log.write(LINE)
        await clock.advance(1)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit-2026-01-01T00-00-03.000.log", "audit-2026-01-01T00-00-04.000.log", "audit.log"]
    assert (tmp_path / "audit.log").stat().st_mode & 0o777 == 0o600


async def test_old_files_go_by_age_and_others_are_left_alone(tmp_path: Path) -> None:
    clock = FakeClock()
    (tmp_path / "audit-notes.log").write_text("mine")
    log = LogFile(tmp_path / "audit.log", clock, max_size_mb=1, max_age_days=1)
    for _ in range(3):
        log.write(LINE)
        await clock.advance(90_000)
    log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit-2026-01-03T02-00-00.000.log", "audit-notes.log", "audit.log"]


def test_a_file_is_gone_on_with(tmp_path: Path) -> None:
    for _ in range(2):
        log = LogFile(tmp_path / "audit.log", FakeClock())
        log.write(b"{}\n")
        log.close()
    assert (tmp_path / "audit.log").read_bytes() == b"{}\n{}\n"
