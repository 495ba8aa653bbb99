from datetime import UTC, datetime
from typing import Any

import pytest

from knarr.node.pods.status import is_final, pod_status
from knarr.node.pods.view import Stop, View, Waiting
from knarr.node.runtime.runtime import ContainerState
from tests.node.pods.builders import T0_S, container, pod, sandbox, view

NOW = datetime.fromtimestamp(T0_S + 100, UTC)
EXITED = ContainerState.EXITED
STOP = Stop(30, T0_S + 90.0)
SIDECAR = {"name": "side", "restartPolicy": "Always"}


def status(seen: View) -> Any:
    return pod_status(seen, host_ips=("192.0.2.1",), now=NOW)


PHASES: dict[str, tuple[View, str]] = {
    "nothing yet": (View(pod()), "Pending"),
    "sandbox alone": (view(pod()), "Pending"),
    "running": (view(pod(), container()), "Running"),
    "one of two waits": (view(pod(containers=["a", "b"]), container("a")), "Pending"),
    "initializing": (view(pod(initContainers=["i"]), container("i")), "Pending"),
    "failed init under Never": (
        view(pod(initContainers=["i"], restartPolicy="Never"), container("i", state=EXITED, exit_code=1)),
        "Failed",
    ),
    "failed init under Always": (view(pod(initContainers=["i"]), container("i", state=EXITED, exit_code=1)), "Pending"),
    "done": (view(pod(restartPolicy="Never"), container(state=EXITED)), "Succeeded"),
    "failed": (view(pod(restartPolicy="Never"), container(state=EXITED, exit_code=1)), "Failed"),
    "to be restarted": (view(pod(), container(state=EXITED, exit_code=1)), "Running"),
    "one of two ended": (
        view(pod(containers=["a", "b"], restartPolicy="Never"), container("a", state=EXITED), container("b")),
        "Running",
    ),
    "main done, sidecar runs": (
        view(pod(initContainers=[SIDECAR], restartPolicy="Never"), container("side"), container(state=EXITED)),
        "Running",
    ),
    "crash loop": (
        view(pod(), container(state=EXITED, exit_code=1), waiting={"c": Waiting("CrashLoopBackOff")}),
        "Running",
    ),
    "deleted, still running": (view(pod(status={"phase": "Running"}), container(), stop=STOP), "Running"),
    "deleted, ended well": (view(pod(), container(state=EXITED), stop=STOP), "Succeeded"),
    "deleted, killed": (view(pod(), container(state=EXITED, exit_code=137), stop=STOP), "Failed"),
    "deleted before it started": (View(pod(), stop=STOP), "Failed"),
    "deadline": (view(pod(), container(state=EXITED), stop=Stop(30, 0.0, "DeadlineExceeded", "too long")), "Failed"),
    "what ended stays ended": (View(pod(status={"phase": "Succeeded"})), "Succeeded"),
}


@pytest.mark.parametrize("name", PHASES)
def test_phase(name: str) -> None:
    seen, expected = PHASES[name]
    assert status(seen).phase == expected


def conditions(seen: View) -> dict[str, tuple[str, str | None, str | None]]:
    return {c.type: (c.status, c.reason, c.message) for c in status(seen).conditions}


def test_conditions_of_a_pod_that_initializes() -> None:
    found = conditions(view(pod(initContainers=["i", "j"]), container("i")))
    unready = ("False", "ContainersNotReady", "containers with unready status: [c]")
    assert found == {
        "PodReadyToStartContainers": ("True", None, None),
        "Initialized": ("False", "ContainersNotInitialized", "containers with incomplete status: [i j]"),
        "Ready": unready,
        "ContainersReady": unready,
        "PodScheduled": ("True", None, None),
    }


def test_conditions_of_a_pod_that_is_done() -> None:
    found = conditions(view(pod(restartPolicy="Never"), container(state=EXITED), sandboxes=(sandbox(ready=False),)))
    assert found["PodReadyToStartContainers"][0] == "False"
    assert found["Initialized"] == ("True", "PodCompleted", None)
    assert found["Ready"] == ("False", "PodCompleted", None)


@pytest.mark.parametrize(
    ("gates", "expected"),
    [
        (
            [],
            ("False", "ReadinessGatesNotReady", 'corresponding condition of pod readiness gate "x/y" does not exist.'),
        ),
        (
            [{"type": "x/y", "status": "False"}],
            ("False", "ReadinessGatesNotReady", 'the status of pod readiness gate "x/y" is not "True", but False'),
        ),
        ([{"type": "x/y", "status": "True"}], ("True", None, None)),
    ],
)
def test_readiness_gates(gates: list[Any], expected: Any) -> None:
    gated = pod(readinessGates=[{"conditionType": "x/y"}], status={"conditions": gates})
    found = conditions(view(gated, container()))
    assert found["Ready"] == expected
    assert found["ContainersReady"][0] == "True"


def test_transition_time_moves_only_with_the_status() -> None:
    then = "2025-12-31T00:00:00Z"
    known = pod(
        status={
            "conditions": [{"type": t, "status": "True", "lastTransitionTime": then} for t in ("Ready", "PodScheduled")]
        }
    )
    found = {c.type: c.lastTransitionTime for c in status(view(known, container())).conditions}
    assert found["Ready"] == datetime(2025, 12, 31, tzinfo=UTC)
    assert found["ContainersReady"] == NOW
    assert "PodScheduled" not in found


def test_crash_loop_shows_the_last_end_and_the_pause() -> None:
    crashed = view(
        pod(),
        container(state=EXITED, attempt=2, exit_code=7, reason="Error"),
        container(state=EXITED, attempt=1, exit_code=6),
        waiting={"c": Waiting("CrashLoopBackOff", "back-off")},
    )
    (found,) = status(crashed).containerStatuses
    assert (found.state.waiting.reason, found.state.waiting.message) == ("CrashLoopBackOff", "back-off")
    assert (found.lastState.terminated.exitCode, found.lastState.terminated.reason) == (7, "Error")
    assert (found.restartCount, found.ready, found.started) == (2, False, False)
    assert found.containerID == "containerd://c-2"


def test_running_after_a_restart_remembers_the_end_before() -> None:
    (found,) = status(view(pod(), container(attempt=1), container(state=EXITED, exit_code=1))).containerStatuses
    assert found.state.running.startedAt == datetime.fromtimestamp(T0_S + 1, UTC)
    assert found.lastState.terminated.containerID == "containerd://c-0"
    assert (found.ready, found.started) == (True, True)


def test_created_container_says_nothing_new() -> None:
    seen = view(pod(), container(state=ContainerState.CREATED, attempt=1), container(state=EXITED, exit_code=1))
    (found,) = status(seen).containerStatuses
    assert found.state.terminated.exitCode == 1
    assert found.restartCount == 0


def test_not_ready_until_started() -> None:
    (found,) = status(
        view(pod(containers=[{"name": "c", "startupProbe": {}}]), container(), started=frozenset())
    ).containerStatuses
    assert (found.ready, found.started) == (False, False)


def test_lost_container_of_an_ended_pod() -> None:
    running = {"name": "c", "image": "i", "imageID": "", "ready": True, "restartCount": 3, "containerID": "containerd://x",
               "state": {"running": {}}}  # fmt: skip
    (found,) = status(View(pod(status={"containerStatuses": [running]}), stop=STOP)).containerStatuses
    assert (found.state.terminated.exitCode, found.state.terminated.reason) == (137, "ContainerStatusUnknown")
    assert found.restartCount == 3


def test_addresses() -> None:
    found = status(view(pod(), container()))
    assert (found.podIP, found.podIPs[0].ip, found.hostIP) == ("10.0.0.9", "10.0.0.9", "192.0.2.1")
    assert status(View(pod(hostNetwork=True))).podIP == "192.0.2.1"
    ended = view(
        pod(status={"podIPs": [{"ip": "10.0.0.9"}]}), container(state=EXITED), sandboxes=(sandbox(ready=False, ips=()),)
    )
    assert status(ended).podIP == "10.0.0.9"


def test_final_once_everything_is_given_back() -> None:
    ended = view(pod(), container(state=EXITED), stop=STOP)
    assert not is_final(ended, status(ended))
    reclaimed = view(pod(), container(state=EXITED), stop=STOP, reclaimed=True)
    assert is_final(reclaimed, status(reclaimed))
