from datetime import UTC, datetime, timedelta

import pytest

from knarr.api.scheme import BUILT_IN
from knarr.apiserver import tables
from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Printer, columns

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def stamp(ago_s):
    return (NOW - timedelta(seconds=ago_s)).strftime("%Y-%m-%dT%H:%M:%SZ")


def row(plural, obj, *, group="", version="v1"):
    """Return the cells of one object by heading."""
    obj.setdefault("metadata", {}).setdefault("name", "x")
    table = tables.to_table(BUILT_IN.find(group, version, plural), [obj], now=NOW)
    names = [column["name"] for column in table["columnDefinitions"]]
    return dict(zip(names, table["rows"][0]["cells"], strict=True))


@pytest.mark.parametrize("resource", list(BUILT_IN), ids=lambda one: one.qualified)
def test_every_kind_can_be_shown_however_empty(resource):
    table = tables.to_table(resource, [{"metadata": {"name": "x"}}, {}], now=NOW)
    for found in table["rows"]:
        assert len(found["cells"]) == len(table["columnDefinitions"])


def waiting(reason):
    return {"waiting": {"reason": reason}}


def terminated(code=0, **rest):
    return {"terminated": {"exitCode": code, **rest}}


RUNNING = {"running": {}}
INITIALIZED = {"type": "Initialized", "status": "True"}


def pod(containers=(), init=(), *, spec_init=None, phase="Pending", conditions=(), **rest):
    names = range(max(1, len(containers)))
    return {
        "metadata": {"name": "p", "creationTimestamp": stamp(90), **rest.pop("metadata", {})},
        "spec": {
            "containers": [{"name": f"c{i}"} for i in names],
            "initContainers": spec_init if spec_init is not None else [{"name": f"i{i}"} for i in range(len(init))],
        },
        "status": {
            "phase": phase,
            "conditions": list(conditions),
            "containerStatuses": [{"name": f"c{i}", "state": state, "ready": state is RUNNING} for i, state in enumerate(containers)],
            "initContainerStatuses": [{"name": f"i{i}", "state": state} for i, state in enumerate(init)],
            **rest,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("obj", "status", "ready"),
    [
        (pod(), "Pending", "0/1"),
        (pod([waiting("ContainerCreating")]), "ContainerCreating", "0/1"),
        (pod([waiting("CrashLoopBackOff")], phase="Running"), "CrashLoopBackOff", "0/1"),
        (pod([RUNNING], phase="Running"), "Running", "1/1"),
        (pod([RUNNING, waiting("ImagePullBackOff")], phase="Running"), "ImagePullBackOff", "1/2"),
        (pod([terminated(reason="Completed")], phase="Succeeded"), "Completed", "0/1"),
        (pod([terminated(1, reason="Error")], phase="Failed"), "Error", "0/1"),
        (pod([terminated(2)], phase="Failed"), "ExitCode:2", "0/1"),
        (pod([terminated(0, signal=9)], phase="Failed"), "Signal:9", "0/1"),
        (pod([terminated(reason="Completed"), RUNNING], phase="Running",
             conditions=[{"type": "Ready", "status": "True"}]), "Running", "1/2"),
        (pod([terminated(reason="Completed"), RUNNING], phase="Running"), "NotReady", "1/2"),
        (pod(init=[waiting("PodInitializing"), waiting("PodInitializing")]), "Init:0/2", "0/1"),
        (pod(init=[terminated(), RUNNING]), "Init:1/2", "0/1"),
        (pod(init=[terminated(3)]), "Init:ExitCode:3", "0/1"),
        (pod(init=[terminated(1, reason="Error")]), "Init:Error", "0/1"),
        (pod(init=[waiting("CrashLoopBackOff")]), "Init:CrashLoopBackOff", "0/1"),
        (pod([waiting("PodInitializing")], [terminated()]), "PodInitializing", "0/1"),
        (pod([RUNNING], phase="Running", metadata={"deletionTimestamp": stamp(1)}), "Terminating", "1/1"),
        (pod([RUNNING], phase="Running", reason="NodeLost", metadata={"deletionTimestamp": stamp(1)}), "Unknown", "1/1"),
        (pod(phase="Failed", reason="Evicted"), "Evicted", "0/1"),
        (pod(conditions=[{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]), "SchedulingGated", "0/1"),
    ],
)  # fmt: skip
def test_status_and_readiness_of_pods(obj, status, ready):
    found = row("pods", obj)
    assert (found["Status"], found["Ready"]) == (status, ready)


def test_sidecars_count_as_containers():
    obj = pod([RUNNING], [RUNNING], spec_init=[{"name": "i0", "restartPolicy": "Always"}], phase="Running")
    obj["status"]["initContainerStatuses"][0] |= {"started": True, "ready": True, "restartCount": 2}
    found = row("pods", obj)
    assert (found["Status"], found["Ready"], found["Restarts"]) == ("Running", "2/2", "2")


def test_restarts_say_when():
    obj = pod([RUNNING], phase="Running")
    obj["status"]["containerStatuses"][0] |= {"restartCount": 2, "lastState": terminated(1, finishedAt=stamp(300))}
    assert row("pods", obj)["Restarts"] == "2 (5m ago)"


def test_wide_columns_of_pods():
    obj = pod([RUNNING], phase="Running", podIPs=[{"ip": "10.0.0.1"}])
    obj["spec"] |= {"nodeName": "n1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "Ready"}]}
    obj["status"]["conditions"] = [{"type": "Ready", "status": "True"}]
    found = row("pods", obj)
    assert (found["Age"], found["IP"], found["Node"]) == ("90s", "10.0.0.1", "n1")
    assert (found["Nominated Node"], found["Readiness Gates"]) == ("<none>", "1/2")


def test_rows_of_ended_pods_carry_a_condition():
    table = tables.to_table(BUILT_IN.find("", "v1", "pods"), [pod(phase="Succeeded"), pod()], now=NOW)
    assert table["rows"][0]["conditions"] == [
        {"type": "Completed", "status": "True", "reason": "Succeeded", "message": "The pod has completed successfully."}
    ]
    assert "conditions" not in table["rows"][1]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"),
        (179 * 60, "179m"), (3 * 3600, "3h"), (3 * 3600 + 1800, "3h30m"), (8 * 3600, "8h"), (47 * 3600, "47h"),
        (48 * 3600, "2d"), (50 * 3600, "2d2h"), (8 * 86400, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y"),
        (800 * 86400, "2y70d"), (3000 * 86400, "8y"),
    ],
)  # fmt: skip
def test_durations(seconds, text):
    assert cells.human_duration(seconds) == text


def test_what_comes_with_each_row():
    obj = {"metadata": {"name": "x", "resourceVersion": "7"}, "data": {}}
    resource = BUILT_IN.find("", "v1", "configmaps")
    table = tables.to_table(resource, [obj], now=NOW)
    assert table["metadata"] == {"resourceVersion": "7"}
    assert table["rows"][0]["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"],
    }  # fmt: skip
    assert tables.to_table(resource, [obj], now=NOW, include="Object")["rows"][0]["object"] is obj
    assert tables.to_table(resource, [obj], now=NOW, include="None")["rows"][0]["object"] is None
    assert (
        tables.to_table(resource, [], now=NOW, metadata={"resourceVersion": "9"})["metadata"]["resourceVersion"] == "9"
    )


def test_columns_can_be_given():
    printer = Printer(columns("Name Size:integer"), lambda obj, now: [cells.name(obj), obj["size"]])
    resource = BUILT_IN.find("", "v1", "configmaps")
    table = tables.to_table(resource, [{"metadata": {"name": "x"}, "size": 3}], now=NOW, printer=printer)
    assert table["rows"][0]["cells"] == ["x", 3]
    assert table["columnDefinitions"][1]["type"] == "integer"
