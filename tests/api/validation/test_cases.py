"""Bad objects and what is said about them.

`cases/*.input.yaml` holds documents with `case` and either `object` (a new one), or `old` with `change` (a JSON merge patch) and
perhaps `subresource`. `base` and `old` may name another case of the file, whose object this one starts from. `through` is the
group of the request, if not the object's own. `cases/*.output.yaml` has the messages of each case, refreshed by --refresh and
reviewed as a diff.
"""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from knarr.api import defaults, validation
from knarr.api.scheme import BUILT_IN

CASES = Path(__file__).parent / "cases"


@dataclass
class Kind:
    group: str
    version: str
    kind: str

    @property
    def namespaced(self) -> bool:
        version = f"{self.group}/{self.version}" if self.group else self.version
        resource = BUILT_IN.find_kind(version, self.kind)
        return resource is None or resource.namespaced


def kind_of(obj: dict[str, Any]) -> Kind:
    group, _, version = obj["apiVersion"].rpartition("/")
    return Kind(group, version, obj["kind"])


def merge(target: Any, change: Any) -> Any:
    if not isinstance(change, dict):
        return copy.deepcopy(change)
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in change.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def complete(obj: dict[str, Any]) -> dict[str, Any]:
    """Do what the API server does before it validates: defaults, namespace, strategy."""
    obj = copy.deepcopy(obj)
    kind = kind_of(obj)
    meta = obj.setdefault("metadata", {})
    meta.setdefault("name", "test")
    if kind.namespaced:
        meta.setdefault("namespace", "default")
    defaults.apply(kind, obj)
    return obj


def requested(document: dict[str, Any], obj: dict[str, Any]) -> Kind:
    return Kind(document["through"], "v1", obj["kind"]) if "through" in document else kind_of(obj)


def judge(document: dict[str, Any], bases: dict[str, dict[str, Any]]) -> list[str]:
    if "old" in document:
        old = complete(bases[document["old"]] if isinstance(document["old"], str) else document["old"])
        old["metadata"]["resourceVersion"] = "7"
        new = merge(old, document.get("change") or {})
        found = validation.validate_update(
            kind_of(new), new, old, document.get("subresource", ""), requested=requested(document, new)
        )
    else:
        base = bases[document["base"]] if "base" in document else document["object"]
        new = complete(merge(base, document.get("change") or {}))
        found = validation.validate_create(kind_of(new), new, requested=requested(document, new))
    return [str(error) for error in found]


@pytest.mark.parametrize("source", sorted(CASES.glob("*.input.yaml")), ids=lambda path: path.name.split(".")[0])
def test_messages(source: Path, refresh: bool) -> None:
    documents = [document for document in yaml.safe_load_all(source.read_text()) if document]
    bases = {document["case"]: document["object"] for document in documents if "object" in document}
    found = {document["case"]: judge(document, bases) for document in documents}
    assert len(found) == len(documents), "two cases have one name"
    target = source.with_name(source.name.replace(".input.", ".output."))
    if refresh:
        target.write_text(yaml.safe_dump(found, sort_keys=False, width=110, allow_unicode=True))
    assert found == yaml.safe_load(target.read_text())
