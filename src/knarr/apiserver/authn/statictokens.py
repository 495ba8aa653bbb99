"""Tokens in a file: CSV with token, user name, user uid and, quoted, groups. The file is read once, at start.

Upstream counterpart: k8s.io/apiserver/plugin/pkg/auth/authenticator/token/tokenfile (v1.37).
"""

import csv
import hashlib
from pathlib import Path

from knarr.api.user import User
from knarr.apiserver.authn.authenticator import Identified
from knarr.apiserver.authn.errors import BadConfiguration


class StaticTokens:
    """Tokens that a file lists.

    Args:
        path: The file.
        audiences: Of the API server: what such tokens are meant for.

    Raises:
        BadConfiguration: The file cannot be read, or a line has too few columns.
    """

    def __init__(self, path: Path, audiences: tuple[str, ...]) -> None:
        self._audiences = audiences
        self._users = _read(path)

    def authenticate(self, token: str, audiences: tuple[str, ...]) -> Identified | None:
        """Return the user of a token, or None if the file has none."""
        user = self._users.get(_digest(token))
        common = tuple(one for one in audiences if one in self._audiences)
        return Identified(user, common) if user is not None and common else None


def _read(path: Path) -> dict[bytes, User]:
    users: dict[bytes, User] = {}
    try:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.reader(file, skipinitialspace=True), 1):
                if not row:
                    continue
                if len(row) < 3:
                    raise BadConfiguration(path, f"line {number}: expected at least 3 columns, found {len(row)}")
                if row[0]:
                    groups = tuple(part.strip() for part in row[3].split(",") if part.strip()) if len(row) > 3 else ()
                    users[_digest(row[0])] = User(row[1], groups, row[2])
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise BadConfiguration(path, str(err)) from err
    return users


def _digest(token: str) -> bytes:
    # Looked up by hash, so that the time it takes tells nothing of the tokens.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
