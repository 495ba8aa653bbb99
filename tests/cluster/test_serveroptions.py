"""What a control plane is told: a file, flags that win, and paths."""

import argparse
from pathlib import Path

import pytest

from knarr.apiserver.config import Config
from knarr.cluster import serveroptions
from knarr.cluster.errors import UsageError
from knarr.cluster.layout import Layout
from knarr.cluster.serveroptions import ServerOptions
from knarr.controllers import roster
from knarr.store import compaction
from knarr.store.memory import MemoryBackend


def told(folder: Path, *flags: str) -> Config:
    layout = Layout("a", folder, folder)
    parser = argparse.ArgumentParser()
    serveroptions.add_arguments(parser)
    options = serveroptions.with_arguments(serveroptions.load(layout), parser.parse_args(flags))
    return serveroptions.apply(options, Config(backend=MemoryBackend()), layout)


def test_without_anything_all_is_as_it_was(tmp_path: Path) -> None:
    found = told(tmp_path)
    assert (found.audit, found.encryption, found.max_requests, found.anonymous) == (None, None, 400, True)


def test_flags_win_over_the_file_and_paths_begin_at_the_data_folder(tmp_path: Path) -> None:
    (tmp_path / "server.json").write_text(
        '{"audit-policy-file":"p.yaml","audit-log-path":"logs/audit.log","max-requests-inflight":7,"disable-admission-plugins":["A"]}'
    )
    found = told(tmp_path, "--audit-log-path=-", "--encryption-provider-config=/etc/e.yaml", "--anonymous-auth=false",
                 "--enable-admission-plugins=B,C")  # fmt: skip
    assert found.audit is not None
    assert (found.audit.policy, found.audit.log) == (tmp_path / "p.yaml", Path("-"))
    assert (found.max_requests, found.encryption, found.anonymous) == (7, Path("/etc/e.yaml"), False)
    assert (found.enabled_admission, found.disabled_admission) == (("B", "C"), ("A",))


@pytest.mark.parametrize("content", ["{", '{"nope":1}', '{"max-requests-inflight":"x"}'])
def test_files_that_cannot_be_used(tmp_path: Path, content: str) -> None:
    (tmp_path / "server.json").write_text(content)
    with pytest.raises(UsageError, match=r"server\.json"):
        told(tmp_path)


def test_the_past_is_kept_as_long_as_told() -> None:
    assert serveroptions.history(ServerOptions()) == compaction.DEFAULT
    short = serveroptions.history(ServerOptions(etcd_compaction_interval=20))
    assert (short.age_s, short.interval_s) == (20, 2)
    shared = serveroptions.history(ServerOptions(store="etcd://127.0.0.1:2379", etcd_compaction_interval=20))
    assert (shared.age_s, shared.interval_s) == (20, 20)


def test_what_runs_beside_the_api_server_is_chosen(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    serveroptions.add_arguments(parser)
    told = serveroptions.with_arguments(
        serveroptions.ServerOptions(), parser.parse_args(["--controllers=-*,job-controller", "--scheduler=false"])
    )
    assert [one.name for one in roster.select(told.controllers)] == ["job-controller"]
    assert not told.scheduler
    assert roster.select(["-*"]) == []
    assert len(roster.select(["-job-controller"])) == len(roster.select(["*"])) - 1
