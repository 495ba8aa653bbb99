"""What older servers leave out is what Go's clients make of it."""

import json
from typing import Any

import msgspec
import pytest
from lightkube.models import core_v1, storage_v1

from knarr.client import nulls
from knarr.client.kinds import ListAnswer


@pytest.mark.parametrize("spec", [{"drivers": None}, {}, None])
def test_a_list_that_is_null_or_absent_is_empty(spec: Any) -> None:
    body = json.dumps({"metadata": {"name": "n1", "labels": None}, "spec": spec}).encode()
    found = nulls.Decoder[storage_v1.CSINode](storage_v1.CSINode).decode(body)
    assert found.spec.drivers == []
    assert found.metadata is not None
    assert (found.metadata.name, found.metadata.labels) == ("n1", None)


def test_zero_values_within_lists_of_objects() -> None:
    containers = [{"name": None, "ports": [{"protocol": "TCP"}], "env": [None]}]
    body = json.dumps({"metadata": {}, "items": [{"spec": {"containers": containers}}]}).encode()
    answer = ListAnswer[core_v1.Pod]
    found = nulls.Decoder[ListAnswer[core_v1.Pod]](answer).decode(body)
    assert found.items is not None
    pod = found.items[0]
    assert pod.spec is not None
    only = pod.spec.containers[0]
    assert only.ports is not None
    assert only.env is not None
    assert (only.name, only.ports[0].containerPort, only.env[0].name) == ("", 0, "")


def test_what_is_of_the_wrong_type_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$.spec.drivers"):
        nulls.Decoder[storage_v1.CSINode](storage_v1.CSINode).decode(b'{"spec":{"drivers":"x"}}')
