"""/logs: the files of a folder, for administrators, where the configuration names one.

Upstream counterpart: `routes.Logs` of kube-apiserver (`--enable-logs-handler`), off by default there as here.
Nothing outside of the folder is ever read: neither by ".." nor through symbolic links.

Source: pkg/routes/logs.go (v1.37) and FileServer of Go's net/http.
"""

import asyncio
import html
import mimetypes
from pathlib import Path
from urllib.parse import quote

from knarr.api import errors
from knarr.kit.http.messages import Headers, Response

_NAME_MAX = 255
_HEAD = '<!doctype html>\n<meta name="viewport" content="width=device-width">\n<pre>\n'


async def serve(folder: Path, path: str) -> Response:
    """Answer with a file, or with links to what a folder holds.

    Args:
        folder: What is served at "/logs/".
        path: The decoded path, "/logs" or below.

    Raises:
        PathNotFound: There is no such file.
    """
    asked = path.removeprefix("/logs").lstrip("/")
    if any(len(part.encode()) > _NAME_MAX for part in asked.split("/")):
        return _text(414, "path is too long\n", "text/plain; charset=utf-8")
    return await asyncio.to_thread(_serve, folder, asked)


def _serve(folder: Path, asked: str) -> Response:
    root = folder.resolve()
    try:
        found = (root / asked).resolve()
        if not found.is_relative_to(root):
            raise errors.PathNotFound
        if found.is_dir():
            return _listing(found) if asked.endswith("/") or not asked else _moved(f"{found.name}/")
        if asked.endswith("/"):
            return _moved(f"../{found.name}")
        kind = mimetypes.guess_type(found.name)[0] or "text/plain; charset=utf-8"
        return _bytes(200, found.read_bytes(), kind)
    except PermissionError:
        return _text(403, "403 Forbidden\n", "text/plain; charset=utf-8")
    except (OSError, ValueError) as err:
        raise errors.PathNotFound from err


def _listing(folder: Path) -> Response:
    names = sorted(f"{one.name}/" if one.is_dir() else one.name for one in folder.iterdir())
    links = [f'<a href="{quote(name)}">{html.escape(name)}</a>\n' for name in names]
    return _text(200, f"{_HEAD}{''.join(links)}</pre>\n", "text/html; charset=utf-8")


def _moved(where: str) -> Response:
    return Response(301, Headers.from_lower([("location", quote(where))]), b"")


def _text(status: int, body: str, content_type: str) -> Response:
    return _bytes(status, body.encode(errors="replace"), content_type)


def _bytes(status: int, body: bytes, content_type: str) -> Response:
    return Response(status, Headers.from_lower([("content-type", content_type)]), body)
