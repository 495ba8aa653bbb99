from datetime import UTC, datetime

import msgspec
import pytest
from lightkube.models import core_v1, meta_v1

from knarr.node.simulated import lines, script, stages
from knarr.node.simulated.player import Outcome, Player
from knarr.node.simulated.script import PREFIX

EPOCH_S = datetime(2026, 1, 1, tzinfo=UTC).timestamp()


def pod(
    *, policy: str = "Always", init: int = 0, grace_s: int = 30, deadline_s: int | None = None, **said: str
) -> core_v1.Pod:
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(
            name="p", namespace="default", uid="u1", generation=1,
            annotations={PREFIX + name.replace("_", "."): value for name, value in said.items()},
        ),
        spec=core_v1.PodSpec(
            containers=[core_v1.Container(name="web", image="web:1")],
            initContainers=[core_v1.Container(name=f"init{n}", image="init:1") for n in range(init)] or None,
            restartPolicy=policy,
            nodeName="n1",
            activeDeadlineSeconds=deadline_s,
            terminationGracePeriodSeconds=grace_s,
        ),
        status=core_v1.PodStatus(phase="Pending"),
    )  # fmt: skip


class Stage:
    """Plays one pod and lets the API show what it says."""

    def __init__(self, made: core_v1.Pod) -> None:
        self.player = self.new(made)
        self.now_s = EPOCH_S

    @staticmethod
    def new(made: core_v1.Pod) -> Player:
        return Player(
            made,
            lambda pod, container: script.write(pod, container, script.NOTHING, seed=1),
            lambda: "10.0.0.1",
            host_ips=("192.0.2.1",),
            arrived_s=EPOCH_S,
        )

    def at(self, seconds: float) -> Outcome:
        self.now_s = EPOCH_S + seconds
        outcome = self.player.step(self.now_s)
        self.player.observe(msgspec.structs.replace(self.player.pod, status=outcome.status))
        return outcome

    def delete(self, *, grace_s: int = 30) -> None:
        meta = msgspec.structs.replace(
            self.player.pod.metadata,
            deletionTimestamp=datetime.fromtimestamp(self.now_s, UTC),
            deletionGracePeriodSeconds=grace_s,
        )
        self.player.observe(msgspec.structs.replace(self.player.pod, metadata=meta))


def ready(outcome: Outcome) -> str:
    return next(c.status for c in outcome.status.conditions or [] if c.type == "Ready")


def web(outcome: Outcome) -> core_v1.ContainerStatus:
    assert outcome.status.containerStatuses
    return outcome.status.containerStatuses[0]


def test_a_pod_without_a_script_runs_and_is_ready_at_once() -> None:
    outcome = Stage(pod()).at(0)
    assert (outcome.status.phase, ready(outcome), outcome.status.podIP) == ("Running", "True", "10.0.0.1")
    assert outcome.wake_s is None


def test_start_and_readiness_take_their_time() -> None:
    stage = Stage(pod(start="2s", ready="3s"))
    outcome = stage.at(0)
    assert (outcome.status.phase, web(outcome).state.waiting.reason) == ("Pending", "ContainerCreating")
    assert outcome.wake_s == EPOCH_S + 2
    outcome = stage.at(2)
    assert (outcome.status.phase, ready(outcome), outcome.wake_s) == ("Running", "False", EPOCH_S + 5)
    assert ready(stage.at(5)) == "True"


def test_init_containers_come_first() -> None:
    stage = Stage(pod(init=2, exit_init0="5s"))
    outcome = stage.at(0)
    assert (outcome.status.phase, web(outcome).state.waiting.reason) == ("Pending", "PodInitializing")
    outcome = stage.at(5)
    assert outcome.status.phase == "Running"
    assert [status.state.terminated.exitCode for status in outcome.status.initContainerStatuses or []] == [0, 0]


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", "0", "Succeeded", "Completed"),
        ("Never", "3", "Failed", "Error"),
        ("OnFailure", "0", "Succeeded", "Completed"),
    ],
)
def test_a_container_that_ends_ends_its_pod(policy: str, code: str, phase: str, reason: str) -> None:
    stage = Stage(pod(policy=policy, exit="4s", code=code))
    assert stage.at(0).wake_s == EPOCH_S + 4
    outcome = stage.at(4)
    ended = web(outcome).state.terminated
    assert (outcome.status.phase, ended.reason, ended.exitCode) == (phase, reason, int(code))
    assert (ended.finishedAt - ended.startedAt).total_seconds() == 4


def test_crashes_back_off_longer_and_longer() -> None:
    stage = Stage(pod(exit="1s", code="1", reason="OOMKilled"))
    stage.at(0)
    stage.at(1)  # the first restart is at once
    outcome = stage.at(2)
    assert (web(outcome).restartCount, web(outcome).state.waiting.reason) == (1, "CrashLoopBackOff")
    assert "back-off 10s restarting failed container=web" in web(outcome).state.waiting.message
    assert web(outcome).lastState.terminated.reason == "OOMKilled"
    assert outcome.waiting == ("web",)
    assert outcome.wake_s == EPOCH_S + 12
    assert web(stage.at(12)).state.running is not None
    outcome = stage.at(13)
    assert "back-off 20s" in web(outcome).state.waiting.message


def test_only_the_first_runs_crash_if_so_scripted() -> None:
    stage = Stage(pod(exit="1s", code="1", runs="1"))
    stage.at(0)
    outcome = stage.at(1)
    assert (web(outcome).restartCount, outcome.wake_s) == (1, None)


def test_deletion_waits_for_the_containers_and_is_final() -> None:
    stage = Stage(pod(stop="5s"))
    stage.at(0)
    stage.delete()
    outcome = stage.at(1)
    assert (outcome.is_final, outcome.status.phase, outcome.wake_s) == (False, "Running", EPOCH_S + 6)
    outcome = stage.at(6)
    assert (outcome.is_final, outcome.status.phase, web(outcome).state.terminated.exitCode) == (True, "Succeeded", 0)


def test_who_does_not_stop_in_time_is_killed() -> None:
    stage = Stage(pod(stop="never"))
    stage.at(0)
    stage.delete(grace_s=30)
    assert stage.at(0).wake_s == EPOCH_S + 30
    stage.delete(grace_s=2)
    stage.at(1)
    outcome = stage.at(3)
    assert (outcome.is_final, web(outcome).state.terminated.exitCode) == (True, 137)


def test_a_deadline_fails_the_pod() -> None:
    stage = Stage(pod(policy="Never", deadline_s=10))
    assert stage.at(0).wake_s == EPOCH_S + 10
    outcome = stage.at(10)
    assert (outcome.status.phase, outcome.status.reason) == ("Failed", "DeadlineExceeded")


def test_an_earlier_process_is_taken_over_from() -> None:
    stage = Stage(pod(exit="30s", code="1"))
    stage.at(0)
    stage.at(30)
    before = stage.player
    stage.player = Stage.new(before.pod)
    outcome = stage.at(40)
    assert web(outcome).restartCount == 1
    assert web(outcome).state.running.startedAt.timestamp() == EPOCH_S + 30
    assert stage.player.address == "10.0.0.1"
    assert outcome.wake_s == EPOCH_S + 60


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"exit": "soon"}, "expected a duration"),
        ({"exit": "3s..1s"}, "smaller end"),
        ({"code": "x"}, "whole number"),
        ({"cpu": "many"}, "expected a quantity"),
        ({"exit_db": "3s"}, "no container 'db'"),
        ({"color": "red"}, "unknown"),
    ],
)
def test_annotations_that_make_no_sense_are_named_and_passed_over(said: dict[str, str], problem: str) -> None:
    made = pod(**said)
    assert problem in script.check(made)[0]
    assert Stage(made).at(0).status.phase == "Running"


def test_chance_depends_on_seed_and_pod_alone() -> None:
    made = pod(exit="1s..100s")
    runs = [script.write(made, made.spec.containers[0], script.NOTHING, seed=seed).run(0).exit_s for seed in (1, 1, 2)]
    assert runs[0] == runs[1] != runs[2]


def test_the_first_stage_that_fits_is_played_and_annotations_come_over_it() -> None:
    documents = [
        {"kind": "Stage", "apiVersion": stages.API_VERSION, "spec": {"images": ["db:*"], "play": {"exit": "1s"}}},
        {
            "kind": "Stage",
            "apiVersion": stages.API_VERSION,
            "spec": {"images": ["web:*"], "play": {"exit": "2s", "code": 7}},
        },
        {"kind": "Stage", "apiVersion": stages.API_VERSION, "spec": {"play": {"exit": "3s"}}},
    ]
    made = pod(exit="9s")
    staged = stages.choose(stages.read(documents), made, made.spec.containers[0], seed=0)
    run = script.write(made, made.spec.containers[0], staged, seed=0).run(0)
    assert (run.exit_s, run.code) == (9, 7)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"play": {"exits": "1s"}}, "exits: unknown"),
        ({"plays": {}}, "spec.plays: unknown"),
        ({"selector": {"matchLabels": 3}}, "Expected"),
        ({"play": {"ready": "x"}}, "ready"),
    ],
)
def test_stages_that_make_no_sense_are_refused(spec: dict[str, object], problem: str) -> None:
    with pytest.raises(stages.StageInvalid, match=problem):
        stages.read([{"kind": "Stage", "apiVersion": stages.API_VERSION, "metadata": {"name": "s"}, "spec": spec}])


def test_a_share_of_the_pods_is_chosen() -> None:
    stage = stages.Stage("s", script.NOTHING, share=0.25)
    made = pod()
    chosen = 0
    for number in range(400):
        made.metadata.uid = f"u{number}"
        chosen += stage.fits(made, made.spec.containers[0], seed=3)
    assert 70 < chosen < 130


def test_lines_come_when_they_are_due_and_none_after_the_end() -> None:
    stage = Stage(pod(policy="Never", exit="2s", logs="a {n}\nb {n}", every="500ms"))
    stage.at(0)
    made = stage.player
    written = [
        text for _, _, text in lines.lines(
            made.script(made.pod.spec.containers[0]), made.containers[0], first=0, now_s=EPOCH_S + 1
        )
    ]  # fmt: skip
    assert written == ["a 0", "b 1", "a 2"]
    stage.at(2)
    found = lines.lines(made.script(made.pod.spec.containers[0]), made.containers[0], first=3, now_s=EPOCH_S + 99)
    assert [text for _, _, text in found] == ["b 3", "a 4"]
