from pathlib import Path

import pytest

from knarr.api import errors
from knarr.apiserver import logs
from tests.apiserver.conftest import Api, open_api


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text("key")
    found = tmp_path / "logs"
    (found / "old").mkdir(parents=True)
    (found / "server.log").write_text("started\n")
    (found / "a<b").write_text("")
    (found / "out").symlink_to(tmp_path / "secret")
    return found


async def test_files_and_folders_are_served(folder: Path) -> None:
    async with open_api(logs_dir=folder) as api:
        response = await api.call("GET", "/logs/server.log")
        assert (response.status, response.body) == (200, b"started\n")
        listing = await api.call("GET", "/logs/")
        assert isinstance(listing.body, bytes)
        assert b'<a href="old/">old/</a>' in listing.body
        assert b'<a href="a%3Cb">a&lt;b</a>' in listing.body
        moved = await api.call("GET", "/logs/old")
        assert (moved.status, moved.headers.get("location")) == (301, "old/")
        await api.fails(405, "POST", "/logs/server.log", {})


@pytest.mark.parametrize("path", ["/logs/../secret", "/logs/none", "/logs/out", "/logs/a\0b"])
async def test_nothing_outside_is_read(folder: Path, path: str) -> None:
    with pytest.raises(errors.PathNotFound):
        await logs.serve(folder, path)


async def test_long_names_are_refused(folder: Path) -> None:
    assert (await logs.serve(folder, "/logs/" + "a" * 300)).status == 414


async def test_nothing_is_served_unless_asked_for(api: Api) -> None:
    await api.fails(404, "GET", "/logs/server.log")
