from fractions import Fraction
from typing import Any

import pytest

from knarr.node.pods import resize
from knarr.node.pods.plan import Resize, StopContainer, plan_pod
from tests.node.pods.builders import T0_S, container, pod, view

ALLOCATABLE = {"cpu": Fraction(2), "memory": Fraction(1 << 30)}


def sized(cpu: str, **rest: Any) -> Any:
    return pod(containers=[{"name": "c", "resources": {"requests": {"cpu": cpu}}, **rest}])


@pytest.mark.parametrize(
    ("asked", "others", "pending"),
    [
        ("1", (), None),
        ("1500m", ("500m",), None),
        ("3", (), "Infeasible"),
        ("1500m", ("1",), "Deferred"),
        ("500m", ("1900m",), None),  # less than before always fits
    ],
)
def test_decide(asked: str, others: tuple[str, ...], pending: str | None) -> None:
    before = resize.first_allocation(sized("1"))
    found = resize.decide(sized(asked), before, [sized(cpu) for cpu in others], allocatable=ALLOCATABLE)
    assert (found.pending.reason if found.pending else None) == pending
    given = resize.with_allocation(sized(asked), found.allocation)
    assert given.spec is not None
    assert given.spec.containers[0].resources == (sized("1") if pending else sized(asked)).spec.containers[0].resources


def test_pending_resize_survives_a_restart_of_the_agent() -> None:
    status = {
        "conditions": [{"type": "PodResizePending", "status": "True"}],
        "containerStatuses": [
            {
                "name": "c",
                "image": "",
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "resources": {"requests": {"cpu": "1"}},
            }
        ],
    }
    wanted = pod(containers=[{"name": "c", "resources": {"requests": {"cpu": "9"}}}], status=status)
    assert resize.first_allocation(wanted) == resize.first_allocation(sized("1"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ("NotRequired", Resize(("c-0",))),
        ("RestartContainer", StopContainer("c-0", 30, "Container c resize requires restart", restarts=True)),
    ],
)
def test_plan_of_a_granted_resize(policy: str, expected: Any) -> None:
    wanted = sized("2", resizePolicy=[{"resourceName": "cpu", "restartPolicy": policy}])
    applied = {"c-0": sized("1").spec.containers[0].resources}
    assert plan_pod(view(wanted, container(), applied=applied), now_s=T0_S).actions == (expected,)


def test_same_amounts_in_other_words_are_no_resize() -> None:
    applied = {"c-0": sized("1000m").spec.containers[0].resources}
    assert plan_pod(view(sized("1"), container(), applied=applied), now_s=T0_S).actions == ()
