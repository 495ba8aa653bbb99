"""Small good objects of every kind, as many as wanted."""

import json
from pathlib import Path
from typing import Any

import yaml

from tests.apiserver.test_subresources import csr

Object = dict[str, Any]

_FILE = Path(__file__).with_name("data") / "examples.yaml"


class Examples:
    """Makes objects, each with a name of its own; all of them carry `label` with the number of the object."""

    label = "example"

    def __init__(self) -> None:
        self._known = {(one["apiVersion"], one["kind"]): one for one in yaml.safe_load(_FILE.read_text())}
        self._csr = csr()
        self.number = 0

    def versions_of(self, kind: str) -> list[str]:
        """Return the apiVersions in which there is an example of a kind."""
        return [api_version for api_version, one in self._known if one == kind]

    def of(self, api_version: str, kind: str) -> Object:
        """Return an object."""
        self.number += 1
        text = json.dumps(self._known[api_version, kind]).replace("{n}", str(self.number))
        made: Object = json.loads(text.replace("{csr}", self._csr))
        if api_version.startswith("authorization"):
            return made  # reviews must not have metadata
        metadata = made.setdefault("metadata", {})
        metadata.setdefault("name", f"x{self.number}")
        metadata.setdefault("labels", {})[self.label] = str(self.number)
        return made
