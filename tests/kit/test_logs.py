import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from knarr.kit import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("knarr")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    ours.setLevel(logging.NOTSET)  # other tests quieten it
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)
    logging.getLogger("knarr.loud").setLevel(logging.NOTSET)


def test_a_text_line_has_time_level_logger_message_and_facts() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream)
    logging.getLogger("knarr.x").info("pod started", extra=logs.fields(pod="web", note="two words"))
    expected = r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO knarr\.x pod started pod=web note="two words"\n'
    assert re.fullmatch(expected, stream.getvalue())


def test_a_json_line_carries_facts_and_traceback() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream, json_lines=True)
    try:
        raise OSError("gone")
    except OSError as err:
        logging.getLogger("knarr.x").error("failed", extra=logs.fields(n=1), exc_info=err)
    entry = json.loads(stream.getvalue())
    assert (entry["level"], entry["msg"], entry["n"]) == ("error", "failed", 1)
    assert "OSError: gone" in entry["exception"]


def test_levels_may_differ_by_package() -> None:
    stream = io.StringIO()
    logs.set_up(stream=stream, level="error,knarr.loud=debug")
    logging.getLogger("knarr.quiet").info("unheard")
    logging.getLogger("knarr.loud").debug("heard")
    assert stream.getvalue().endswith("DEBUG knarr.loud heard\n")
    assert "unheard" not in stream.getvalue()


def test_an_unknown_level_is_named() -> None:
    with pytest.raises(ValueError, match="log level 'chatty'"):
        logs.parse_levels("info,knarr=chatty")
