"""What is said of a member, and how often."""

import logging

import pytest

from knarr.store.etcd import etcd_pb2 as pb
from knarr.store.etcd import hints

MIB = 1 << 20


@pytest.mark.parametrize(
    ("size", "used", "topics"),
    [(90, 1, []), (400, 300, []), (400, 100, ["defragmentation"]), (400, 0, [])],  # 3.3 does not say what is in use
)
def test_files_that_are_mostly_empty(size: int, used: int, topics: list[str]) -> None:
    assert list(hints.find("a:1", pb.StatusResponse(db_size=size * MIB, db_size_in_use=used * MIB))) == topics


def test_a_hint_is_given_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=hints.logger.name)
    teller, full = hints.Teller(), pb.StatusResponse(errors=["memberID:1 alarm:NOSPACE "])
    for status in (full, full, pb.StatusResponse(), pb.StatusResponse()):
        teller.tell("a:1", status)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert "alarm:NOSPACE" in caplog.text
