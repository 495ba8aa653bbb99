from typing import Any

import msgspec
import pytest

from knarr.api.scheme import BUILT_IN
from knarr.apiserver.attributes import Extractor

EXTRACTOR = Extractor(BUILT_IN)

CASES: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("pods/ns/p", {"spec": {"nodeName": "n1", "hostNetwork": True}, "status": {"phase": "Running", "podIP": "10.0.0.1"}},
     {"spec.nodeName": "n1", "spec.hostNetwork": "true", "status.phase": "Running", "status.podIP": "10.0.0.1",
      "status.podIPs": "10.0.0.1"}),
    ("pods/ns/p", {}, {"spec.nodeName": "", "spec.hostNetwork": "false", "status.phase": ""}),
    ("minions/n", {"spec": {"unschedulable": True}}, {"spec.unschedulable": "true"}),
    ("services/specs/ns/s", {"spec": {"clusterIP": "10.96.0.1", "type": "ClusterIP"}}, {"spec.clusterIP": "10.96.0.1"}),
    ("events/ns/e", {"involvedObject": {"name": "p"}, "source": {"component": "kubelet"}},
     {"involvedObject.name": "p", "source": "kubelet"}),
    ("events/ns/e", {"reportingComponent": "x"}, {"source": "x", "reportingComponent": "x"}),
    ("jobs/ns/j", {"status": {"succeeded": 3}}, {"status.successful": "3"}),
    ("secrets/ns/s", {"type": "Opaque"}, {"type": "Opaque"}),
    ("example.com/foos/ns/f", {}, {"metadata.name": "name"}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "obj", "expected"), CASES)
def test_selectable_fields_are_read_from_the_bytes(key: str, obj: dict[str, Any], expected: dict[str, str]) -> None:
    metadata = {"name": "name", "namespace": "ns", "labels": {"a": "b"}}
    found = EXTRACTOR.extract(f"/registry/{key}".encode(), msgspec.json.encode({"metadata": metadata, **obj}))
    assert found.labels == {"a": "b"}
    assert {name: found.fields[name] for name in expected} == expected
