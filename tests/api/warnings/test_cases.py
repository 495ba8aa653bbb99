"""What writers are told about valid objects.

`cases/*.yaml` holds documents with `case`, `object` and the `warnings` about it; `old` makes it an update, from an object of
which only what differs is given.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.api import warnings
from knarr.api.warnings import addresses

CASES = [
    (f"{path.stem}: {document['case']}", document)
    for path in sorted((Path(__file__).parent / "cases").glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
    if document
]


@dataclass
class Kind:
    group: str
    kind: str


@pytest.mark.parametrize("document", [document for _, document in CASES], ids=[name for name, _ in CASES])
def test_warnings(document: dict[str, Any]) -> None:
    obj = {"metadata": {"name": "test"}, **document["object"]}
    old = document.get("old")
    if old is not None:
        old = {**obj, **old}
    group = obj["apiVersion"].rpartition("/")[0]
    assert warnings.of(Kind(group, obj["kind"]), obj, old) == (document.get("warnings") or [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.1.2.3", ""),
        ("10.1.02.3", 'x: non-standard IP address "10.1.02.3" is invalid: use "10.1.2.3"'),
        ("::ffff:10.1.2.3", 'x: non-standard IP address "::ffff:10.1.2.3" is invalid: use "10.1.2.3"'),
        ("2001:db8::1", ""),
        ("2001:DB8:0:0::1", 'x: IPv6 address "2001:DB8:0:0::1" should be in RFC 5952 canonical format ("2001:db8::1")'),
        ("nonsense", ""),
    ],
)
def test_addresses(text: str, words: str) -> None:
    assert addresses.of_address(text, "x") == ([words] if words else [])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("10.0.0.0/8", []),
        ("10.1.2.3/8",
         ['x: CIDR value "10.1.2.3/8" is ambiguous in this context (should be "10.0.0.0/8" or "10.1.2.3/32"?)']),
        ("10.0.0.0/08", ['x: non-standard CIDR value "10.0.0.0/08" is invalid: use "10.0.0.0/8"']),
        ("::ffff:10.0.0.0/104", ['x: non-standard CIDR value "::ffff:10.0.0.0/104" is invalid: use "10.0.0.0/8"']),
        ("2001:DB8::/32",
         ['x: IPv6 CIDR value "2001:DB8::/32" should be in RFC 5952 canonical format ("2001:db8::/32")']),
        ("2001:db8::/32", []),
        ("nonsense", []),
    ],
)  # fmt: skip
def test_blocks(text: str, words: list[str]) -> None:
    assert addresses.of_block(text, "x") == words
