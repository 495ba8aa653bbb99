from typing import Any

import pytest

from knarr.node.pods.publish import diff

READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
GATE = {"type": "x/y", "status": "True"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({}, {}, {}),
        ({"phase": "Pending"}, {"phase": "Running"}, {"phase": "Running"}),
        ({"phase": "Running", "nominatedNodeName": "n"}, {"phase": "Running"}, {}),
        ({"reason": "Evicted"}, {}, {"reason": None}),
        ({"conditions": [READY, GATE]}, {"conditions": [READY]}, {}),
        ({"conditions": [{**READY, "lastProbeTime": None}]}, {"conditions": [READY]}, {}),
        (
            {"conditions": [{**READY, "status": "False", "reason": "X", "message": "m"}]},
            {"conditions": [READY]},
            {"conditions": [{**READY, "reason": None, "message": None}]},
        ),
        ({}, {"podIPs": [{"ip": "a"}]}, {"podIPs": [{"ip": "a"}]}),
        ({"podIPs": [{"ip": "a"}]}, {"podIPs": [{"ip": "b"}]}, {"podIPs": [{"$patch": "replace"}, {"ip": "b"}]}),
        ({"containerStatuses": [{"name": "c", "lastState": {}}]}, {"containerStatuses": [{"name": "c"}]}, {}),
    ],
)
def test_diff(old: Any, new: Any, expected: Any) -> None:
    assert diff(old, new) == expected
