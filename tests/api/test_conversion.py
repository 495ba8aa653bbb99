import pytest

from knarr.api import conversion
from knarr.api.scheme import BUILT_IN

V1 = BUILT_IN.find_kind("autoscaling/v1", "HorizontalPodAutoscaler")
V2 = BUILT_IN.find_kind("autoscaling/v2", "HorizontalPodAutoscaler")
CORE = BUILT_IN.find_kind("v1", "Event")
EVENTS = BUILT_IN.find_kind("events.k8s.io/v1", "Event")


def hpa(**spec):
    return {"kind": V2.kind, "apiVersion": "autoscaling/v2", "metadata": {"name": "h"}, "spec": spec, "status": {}}


def resource(name, **target):
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def test_the_same_version_is_the_same_object():
    obj = hpa(maxReplicas=1)
    assert conversion.convert(obj, V2) is obj


def test_events_change_names_and_come_back():
    event = {
        "kind": "Event", "apiVersion": "v1", "metadata": {"name": "e"}, "involvedObject": {"name": "p"}, "message": "hi",
        "count": 2, "source": {"component": "c"}, "reportingComponent": "c", "type": "Normal",
    }  # fmt: skip
    new = conversion.convert(event, EVENTS)
    assert new["apiVersion"] == "events.k8s.io/v1"
    assert (new["regarding"], new["note"], new["deprecatedCount"]) == ({"name": "p"}, "hi", 2)
    assert new["reportingController"] == "c"
    assert conversion.convert(new, CORE) == event


def test_cpu_utilization_is_a_field_of_v1():
    obj = hpa(maxReplicas=3, metrics=[resource("cpu", type="Utilization", averageUtilization=50)])
    old = conversion.convert(obj, V1)
    assert old["spec"] == {"maxReplicas": 3, "targetCPUUtilizationPercentage": 50}
    assert "annotations" not in old["metadata"]
    assert conversion.convert(old, V2) == obj


@pytest.mark.parametrize(
    "metric",
    [
        resource("memory", type="AverageValue", averageValue="1Gi"),
        {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
        {"type": "Object", "object": {"metric": {"name": "m"}, "describedObject": {"kind": "Service", "name": "s"},
                                      "target": {"type": "Value", "value": "10"}}},
        {"type": "External", "external": {"metric": {"name": "m", "selector": {"matchLabels": {"a": "b"}}},
                                          "target": {"type": "Value", "value": "10"}}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "c", "target": {
            "type": "Utilization", "averageUtilization": 70}}},
    ],
)  # fmt: skip
def test_other_metrics_survive_in_an_annotation(metric):
    obj = hpa(maxReplicas=3, behavior={"scaleDown": {"stabilizationWindowSeconds": 5}}, metrics=[metric])
    old = conversion.convert(obj, V1)
    assert set(old["metadata"]["annotations"]) == {
        "autoscaling.alpha.kubernetes.io/metrics",
        "autoscaling.alpha.kubernetes.io/behavior",
    }
    assert conversion.convert(old, V2) == obj


@pytest.mark.parametrize("text", ["{", "[1]", '[{"type":"Pods","pods":7}]', '"x"', "null"])
def test_broken_annotations_do_no_harm(text):
    old = hpa(maxReplicas=1) | {"apiVersion": "autoscaling/v1"}
    old["metadata"] = {"name": "h", "annotations": {"autoscaling.alpha.kubernetes.io/metrics": text}}
    assert conversion.convert(old, V2)["spec"]["maxReplicas"] == 1


def test_v1_says_how_many_replicas_there_are_though_v2_does_not():
    v1, v2 = (BUILT_IN.find("autoscaling", version, "horizontalpodautoscalers") for version in ("v1", "v2"))
    obj = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "spec": {},
        "status": {"desiredReplicas": 0},
    }
    shown = conversion.convert(obj, v1)
    assert shown["status"] == {"desiredReplicas": 0, "currentReplicas": 0}
    assert conversion.convert(shown, v2)["status"] == {"desiredReplicas": 0}
