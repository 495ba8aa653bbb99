"""Logs: one line an event, as text or JSON, through the standard library's logging.

A call states the event and its facts: `logger.info("pod started", extra=fields(pod=name, seconds=1.2))`. Text lines read
`2026-01-01T00:00:00.000Z INFO knarr.node.agent pod started pod=web-1 seconds=1.2`.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

LEVELS = {"error": logging.ERROR, "warning": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}

_KEY = "knarr_fields"


def fields(**facts: object) -> dict[str, dict[str, object]]:
    """Return facts in the shape that `extra=` of a logging call takes."""
    return {_KEY: facts}


def set_up(*, level: str = "info", json_lines: bool = False, stream: TextIO | None = None) -> None:
    """Send this process's logs to a stream.

    Args:
        level: "error", "warning", "info" or "debug"; single packages as in "info,knarr.node=debug".
        json_lines: One JSON object a line instead of text.
        stream: Where to; None means stderr.

    Raises:
        ValueError: a level is not one of these.
    """
    default, packages = parse_levels(level)
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if json_lines else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(default)
    for name, package_level in packages.items():
        logging.getLogger(name).setLevel(package_level)
    logging.captureWarnings(capture=True)


def parse_levels(text: str) -> tuple[int, dict[str, int]]:
    """Parse "info,knarr.node=debug" into the default level and those of single packages.

    Raises:
        ValueError: a level has no such name.
    """
    default, packages = logging.INFO, {}
    for part in filter(None, text.split(",")):
        package, _, name = part.rpartition("=")
        if name not in LEVELS:
            raise ValueError(f"log level {name!r}: expected one of {', '.join(LEVELS)}")
        if package:
            packages[package] = LEVELS[name]
        else:
            default = LEVELS[name]
    return default, packages


class TextFormatter(logging.Formatter):
    """Time, level, logger, message, then key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback below it if there is one."""
        facts = "".join(f" {key}={_quote(value)}" for key, value in _facts(record).items())
        line = f"{_stamp(record)} {record.levelname} {record.name} {record.getMessage()}{facts}"
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """The same as one JSON object."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the object; a traceback is its `exception`."""
        entry: dict[str, Any] = {
            "ts": _stamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
            **_facts(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def _facts(record: logging.LogRecord) -> dict[str, object]:
    return getattr(record, _KEY, {})


def _stamp(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quote(value: object) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if not text or any(char in ' "=\n\t' for char in text) else text
