from typing import Any

import pytest

from knarr.node.pods.plan import (
    Action,
    Plan,
    Reclaim,
    RunSandbox,
    Start,
    StopContainer,
    StopSandbox,
    next_retry,
    plan_pod,
)
from knarr.node.pods.view import Kill, Retry, Stop, View
from knarr.node.runtime.runtime import ContainerState
from tests.node.pods.builders import T0_S, container, pod, sandbox, view

NOW_S = T0_S + 100.0
EXITED = ContainerState.EXITED
SIDECAR = {"name": "side", "restartPolicy": "Always"}


def plan(seen: View) -> Plan:
    return plan_pod(seen, now_s=NOW_S)


CASES: dict[str, tuple[View, tuple[Action, ...]]] = {
    "new pod gets a sandbox": (View(pod()), (RunSandbox(0),)),
    "all containers start in order": (view(pod(containers=["a", "b"])), (Start("a", 0), Start("b", 0))),
    "running pod is left alone": (view(pod(), container()), ()),
    "init containers come first": (view(pod(initContainers=["i"])), (Start("i", 0),)),
    "an init container that runs is waited for": (view(pod(initContainers=["i", "j"]), container("i")), ()),
    "after an init container the next": (
        view(pod(initContainers=["i", "j"]), container("i", state=EXITED)),
        (Start("j", 0),),
    ),
    "after the last init container the main ones": (
        view(pod(initContainers=["i"]), container("i", state=EXITED)),
        (Start("c", 0),),
    ),
    "a failed init container is repeated": (
        view(pod(initContainers=["i"]), container("i", state=EXITED, exit_code=1)),
        (Start("i", 1),),
    ),
    "a failed init container of a Never pod ends it": (
        view(pod(initContainers=["i"], restartPolicy="Never"), container("i", state=EXITED, exit_code=1)),
        (StopSandbox("s0"),),
    ),
    "a sidecar that has not started holds up the rest": (
        view(pod(initContainers=[{**SIDECAR, "startupProbe": {}}]), container("side"), started=frozenset()),
        (),
    ),
    "a sidecar that has started does not": (view(pod(initContainers=[SIDECAR]), container("side")), (Start("c", 0),)),
    "a sidecar that ended is started again beside the main ones": (
        view(pod(initContainers=[SIDECAR]), container("side", state=EXITED), container("c")),
        (Start("side", 1),),
    ),
    "ended under Always is started again": (view(pod(), container(state=EXITED)), (Start("c", 1),)),
    "ended well under OnFailure is done": (
        view(pod(restartPolicy="OnFailure"), container(state=EXITED)),
        (StopSandbox("s0"),),
    ),
    "ended badly under OnFailure is started again": (
        view(pod(restartPolicy="OnFailure"), container(state=EXITED, exit_code=2)),
        (Start("c", 1),),
    ),
    "a sidecar ends with the main containers": (
        view(pod(initContainers=[SIDECAR], restartPolicy="Never"), container("side"), container("c", state=EXITED)),
        (StopContainer("side-0", 30),),
    ),
    "a failed probe kills": (
        view(pod(), container(), failed_probes={"c-0": Kill("unhealthy", 7)}),
        (StopContainer("c-0", 7, "unhealthy", restarts=True),),
    ),
    "a container that is being killed is not killed again": (
        view(pod(), container(), failed_probes={"c-0": Kill("unhealthy")}, stopping=frozenset({"c-0"})),
        (),
    ),
    "a changed image replaces": (
        view(pod(), container(spec=pod(containers=[{"name": "c", "image": "i:0"}]).spec.containers[0])),  # type: ignore[union-attr]
        (StopContainer("c-0", 30, "Container c definition changed, will be restarted", restarts=True),),
    ),
    "a dead sandbox is replaced once its containers are gone": (
        view(pod(), container(state=EXITED), sandboxes=(sandbox(ready=False),)),
        (RunSandbox(1),),
    ),
    "what the runtime has lost counts as a restart": (view(pod(), attempts={"c": 3}), (Start("c", 3),)),
    "an ephemeral container is started once": (
        view(pod(ephemeralContainers=["debug"]), container()),
        (Start("debug", 0),),
    ),
    "stopping takes main containers first": (
        view(pod(initContainers=[SIDECAR]), container("side"), container("c"), stop=Stop(10, NOW_S)),
        (StopContainer("c-0", 10),),
    ),
    "then sidecars, with what is left of the time": (
        view(pod(initContainers=[SIDECAR]), container("side"), stop=Stop(10, NOW_S - 4)),
        (StopContainer("side-0", 6),),
    ),
    "then the sandbox": (view(pod(), container(state=EXITED), stop=Stop(10, NOW_S)), (StopSandbox("s0"),)),
    "then what it held": (View(pod(), (sandbox(ready=False),), stop=Stop(10, NOW_S)), (Reclaim(),)),
    "then nothing": (View(pod(), (sandbox(ready=False),), stop=Stop(10, NOW_S), reclaimed=True), ()),
}


@pytest.mark.parametrize("name", CASES)
def test_plan(name: str) -> None:
    seen, expected = CASES[name]
    assert plan(seen).actions == expected


def test_second_crash_waits_and_says_so() -> None:
    crashed = view(
        pod(), container(state=EXITED, exit_code=1, finished_s=NOW_S - 3), retries={"c": Retry(10, NOW_S - 5)}
    )
    found = plan(crashed)
    assert found.actions == ()
    assert found.wake_s == NOW_S + 7
    assert found.waiting["c"].reason == "CrashLoopBackOff"
    assert found.waiting["c"].message == "back-off 10s restarting failed container=c pod=p_ns(u)"


def test_first_crash_starts_at_once_and_counts() -> None:
    found = plan(view(pod(), container(state=EXITED, exit_code=1, finished_s=NOW_S)))
    assert found.actions == (Start("c", 1),)
    assert found.retries == {"c": Retry(10.0, NOW_S)}


@pytest.mark.parametrize(
    ("before", "ended_s", "expected_s"),
    [
        (None, NOW_S, 10),
        (Retry(10, NOW_S - 20), NOW_S, 20),
        (Retry(160, NOW_S - 200), NOW_S, 300),
        (Retry(300, NOW_S - 700), NOW_S, 10),
    ],
)
def test_backoff_doubles_up_to_five_minutes_and_is_forgotten(before: Any, ended_s: float, expected_s: float) -> None:
    assert next_retry(before, ended_s=ended_s, now_s=NOW_S).delay_s == expected_s
