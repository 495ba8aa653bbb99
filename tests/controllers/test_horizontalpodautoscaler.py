from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from lightkube.models import apps_v1, autoscaling_v2, core_v1, meta_v1

from knarr.client import PatchType
from knarr.controllers import hpa_behavior as behavior
from knarr.controllers import hpa_calculator as calculator
from knarr.kit.http.messages import Request
from tests.controllers.lab import Lab, open_lab

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(hours=1)


def pod(
    name: str, *, phase: str = "Running", ready: str = "True", started: datetime = OLD, request: str = "1"
) -> core_v1.Pod:
    resources = core_v1.ResourceRequirements(requests={"cpu": request})
    condition = core_v1.PodCondition(type="Ready", status=ready, lastTransitionTime=started)
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"),
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", resources=resources)]),
        status=core_v1.PodStatus(phase=phase, startTime=started, conditions=[condition]),
    )


def readings(**millis: int) -> dict[str, calculator.Reading]:
    return {name: calculator.Reading(value, NOW) for name, value in millis.items()}


THREE = [pod("a"), pod("b"), pod("c")]


@pytest.mark.parametrize(
    ("pods", "used", "target", "expected"),
    [
        (THREE, {"a": 500, "b": 500, "c": 500}, 30, 5),
        (THREE, {"a": 100, "b": 100, "c": 100}, 50, 1),
        (THREE, {"a": 520, "b": 520, "c": 520}, 50, 3),
        (THREE, {"a": 700, "b": 700}, 50, 3),
        (THREE, {"a": 100, "b": 100}, 50, 3),
        ([pod("a"), pod("b", phase="Pending"), pod("c", phase="Pending")], {"a": 900}, 30, 3),
        ([pod("a"), pod("b", phase="Failed"), pod("c")], {"a": 600, "c": 600}, 30, 4),
        ([pod("a"), pod("b"), pod("c", started=NOW, ready="False")], {"a": 900, "b": 900, "c": 1000}, 30, 6),
    ],
)
def test_how_many_replicas_a_utilization_asks_for(
    pods: list[core_v1.Pod], used: dict[str, int], target: int, expected: int
) -> None:
    found = calculator.by_utilization(
        3, target, pods, readings(**used), resource="cpu", tolerances=calculator.Tolerances(), now=NOW
    )
    assert found.replicas == expected


@pytest.mark.parametrize(
    ("pods", "used", "message"),
    [
        ([], {}, "no pods returned by selector while calculating replica count"),
        ([pod("a", phase="Pending")], {"a": 1}, "did not receive metrics for targeted pods (pods might be unready)"),
    ],
)
def test_without_pods_or_metrics_there_is_no_answer(
    pods: list[core_v1.Pod], used: dict[str, int], message: str
) -> None:
    with pytest.raises(calculator.NoReplicas) as caught:
        calculator.by_average(1, 100, pods, readings(**used), tolerances=calculator.Tolerances(), now=NOW)
    assert str(caught.value) == message


def test_values_of_objects_and_shares() -> None:
    tolerances = calculator.Tolerances()
    assert calculator.by_value(3, 1000, 2000, THREE, tolerances=tolerances).replicas == 6
    assert calculator.by_value(0, 1000, 2500, [], tolerances=tolerances).replicas == 3
    assert calculator.by_share(3, 1000, 5000, tolerances=tolerances).replicas == 5
    assert calculator.by_share(3, 1000, 3100, tolerances=tolerances).replicas == 3


def spec(
    rules: dict[str, Any] | None = None, least: int = 1, most: int = 100
) -> autoscaling_v2.HorizontalPodAutoscalerSpec:
    made = None
    if rules is not None:
        made = autoscaling_v2.HorizontalPodAutoscalerBehavior(
            **{name: autoscaling_v2.HPAScalingRules(**rule) for name, rule in rules.items()}
        )
    target = autoscaling_v2.CrossVersionObjectReference(kind="Deployment", name="x", apiVersion="apps/v1")
    return autoscaling_v2.HorizontalPodAutoscalerSpec(
        maxReplicas=most, minReplicas=least, scaleTargetRef=target, behavior=made
    )


def policy(kind: str, value: int, period: int = 60) -> autoscaling_v2.HPAScalingPolicy:
    return autoscaling_v2.HPAScalingPolicy(type=kind, value=value, periodSeconds=period)


BOTH = [policy("Pods", 2), policy("Percent", 50)]


@pytest.mark.parametrize(
    ("rules", "current", "desired", "recommended", "changes", "expected"),
    [
        (None, 3, 20, [], [], (6, "ScaleUpLimit")),
        (None, 1, 20, [], [], (4, "ScaleUpLimit")),
        (None, 60, 120, [], [], (100, "TooManyReplicas")),
        (None, 9, 2, [(100, 8)], [], (8, "DesiredWithinRange")),
        (None, 9, 2, [(400, 8)], [], (2, "DesiredWithinRange")),
        (None, 9, 0, [(400, 8)], [], (1, "TooFewReplicas")),
        ({"scaleUp": {"policies": [policy("Pods", 2)]}}, 3, 20, [], [], (5, "ScaleUpLimit")),
        ({"scaleUp": {"policies": [policy("Pods", 2)]}}, 5, 20, [], [(30, 2)], (5, "ScaleUpLimit")),
        ({"scaleUp": {"policies": [policy("Pods", 2)]}}, 5, 20, [], [(90, 2)], (7, "ScaleUpLimit")),
        ({"scaleUp": {"policies": BOTH, "selectPolicy": "Min"}}, 10, 30, [], [], (12, "ScaleUpLimit")),
        ({"scaleUp": {"selectPolicy": "Disabled"}}, 5, 20, [], [], (5, "ScaleUpLimit")),
        ({"scaleUp": {"stabilizationWindowSeconds": 60}}, 5, 20, [(30, 7)], [], (7, "DesiredWithinRange")),
        ({"scaleDown": {"stabilizationWindowSeconds": 0, "policies": [policy("Percent", 10)]}}, 50, 1, [], [], (45, "ScaleDownLimit")),
        ({"scaleDown": {"stabilizationWindowSeconds": 60}}, 10, 2, [(30, 6), (90, 9)], [], (6, "DesiredWithinRange")),
        ({"scaleDown": {"selectPolicy": "Disabled"}}, 10, 2, [], [], (10, "ScaleDownLimit")),
    ],
)  # fmt: skip
def test_how_far_a_recommendation_is_followed(
    rules: Any,
    current: int,
    desired: int,
    recommended: list[tuple[int, int]],
    changes: list[tuple[int, int]],
    expected: Any,
) -> None:
    past = behavior.Past()
    past.recommendations = [(NOW - timedelta(seconds=ago), replicas) for ago, replicas in recommended]
    past.changes = [(NOW - timedelta(seconds=ago), change) for ago, change in changes]
    found = behavior.limit(spec(rules), past, current, desired, NOW)
    assert (found.replicas, found.limit[0]) == expected


async def conditions_of(lab: Lab) -> dict[str, tuple[str, str]]:
    status = (await lab.client.get(autoscaling_v2.HorizontalPodAutoscaler, "auto", namespace="default")).status
    return {one.type: (one.status, one.reason or "") for one in (status.conditions if status else None) or ()}


async def replicas_of(lab: Lab) -> int:
    found = await lab.client.get(apps_v1.Deployment, "x", namespace="default")
    assert found.spec
    return found.spec.replicas or 0


async def deploy(lab: Lab, replicas: int) -> None:
    labels = {"app": "x"}
    container = core_v1.Container(name="c", image="x", resources=core_v1.ResourceRequirements(requests={"cpu": "100m"}))
    template = core_v1.PodTemplateSpec(
        metadata=meta_v1.ObjectMeta(labels=labels), spec=core_v1.PodSpec(containers=[container])
    )
    selector = meta_v1.LabelSelector(matchLabels=labels)
    await lab.client.create(
        apps_v1.Deployment(
            metadata=meta_v1.ObjectMeta(name="x", namespace="default"),
            spec=apps_v1.DeploymentSpec(replicas=replicas, selector=selector, template=template),
        )
    )
    source = autoscaling_v2.ResourceMetricSource(
        name="cpu", target=autoscaling_v2.MetricTarget(type="Utilization", averageUtilization=50)
    )
    wanted = spec(least=2, most=6)
    wanted.metrics = [autoscaling_v2.MetricSpec(type="Resource", resource=source)]
    meta = meta_v1.ObjectMeta(name="auto", namespace="default")
    await lab.client.create(autoscaling_v2.HorizontalPodAutoscaler(metadata=meta, spec=wanted))


async def test_a_deployment_follows_its_load_up_at_once_and_down_after_a_while() -> None:
    async with open_lab("n1") as lab:
        load = {"cpu": "80m"}

        def usage(request: Request) -> Any:
            at = lab.clock.now().isoformat().replace("+00:00", "Z")
            return {
                "items": [
                    {
                        "metadata": {"name": name},
                        "timestamp": at,
                        "window": "15s",
                        "containers": [{"name": "c", "usage": load}],
                    }
                    for name in lab_pods
                ]
            }

        lab_pods: list[str] = []
        lab.extensions["/apis/metrics.k8s.io/"] = usage
        await deploy(lab, 1)

        async def follow(count: int) -> bool:
            lab_pods[:] = [one.metadata.name or "" for one in await lab.pods() if one.metadata]
            return await replicas_of(lab) == count

        await lab.until(lambda: follow(2), seconds=20)
        await lab.until(lambda: follow(4), seconds=400)
        assert "New size: 2; reason: Current number of replicas below Spec.MinReplicas" in await lab.events(
            "SuccessfulRescale"
        )
        assert "New size: 4; reason: cpu resource utilization (percentage of request) above target" in await lab.events(
            "SuccessfulRescale"
        )
        load["cpu"] = "5m"
        before = lab.clock.monotonic_s()
        await lab.until(lambda: follow(2), seconds=700)
        assert lab.clock.monotonic_s() - before >= 250
        conditions = await conditions_of(lab)
        assert conditions["ScalingActive"] == ("True", "ValidMetricFound")
        hpa = await lab.client.get(autoscaling_v2.HorizontalPodAutoscaler, "auto", namespace="default")
        assert hpa.status and hpa.status.currentMetrics and hpa.status.currentMetrics[0].resource
        assert hpa.status.currentMetrics[0].resource.current.averageUtilization == 5


async def test_without_a_metrics_api_it_says_so() -> None:
    async with open_lab("n1") as lab:
        await deploy(lab, 2)

        async def told() -> bool:
            return (await conditions_of(lab)).get("ScalingActive") == ("False", "FailedGetResourceMetric")

        await lab.until(told, seconds=40)
        await lab.settle(0.5)
        [message] = set(await lab.events("FailedGetResourceMetric"))
        assert message == (
            "failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource "
            "metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
        )
        assert (await conditions_of(lab))["AbleToScale"] == ("True", "SucceededGetScale")


def metric(**source: Any) -> list[autoscaling_v2.MetricSpec]:
    return [msgspec.convert(source, autoscaling_v2.MetricSpec)]


def custom_item(kind: str, name: str, value: str) -> dict[str, Any]:
    described = {"kind": kind, "name": name, "namespace": "default"}
    return {"describedObject": described, "metric": {"name": "m"}, "timestamp": "2026-01-01T00:00:00Z", "value": value}


def average(value: str) -> dict[str, Any]:
    return {"type": "AverageValue", "averageValue": value}


@pytest.mark.parametrize(
    ("metrics", "path", "answer", "reason"),
    [
        (
            metric(type="ContainerResource", containerResource={"container": "c", "name": "cpu", "target": average("50m")}),
            "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods",
            lambda pods: [
                {
                    "metadata": {"name": name}, "timestamp": "2026-01-01T00:00:30Z", "window": "15s",
                    "containers": [{"name": "c", "usage": {"cpu": "100m"}}, {"name": "side", "usage": {"cpu": "9"}}],
                }
                for name in pods
            ],
            "cpu container resource above target",
        ),
        (
            metric(type="Pods", pods={"metric": {"name": "m"}, "target": average("10")}),
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/pods/*/m",
            lambda pods: [custom_item("Pod", name, "20") for name in pods],
            "pods metric m above target",
        ),
        (
            metric(
                type="Object",
                object={
                    "metric": {"name": "m"},
                    "describedObject": {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "name": "i"},
                    "target": {"type": "Value", "value": "100"},
                },
            ),
            "/apis/custom.metrics.k8s.io/v1beta2/namespaces/default/ingresses.networking.k8s.io/i/m",
            lambda pods: [custom_item("Ingress", "i", "200")],
            "Ingress metric m above target",
        ),
        (
            metric(
                type="External",
                external={"metric": {"name": "m", "selector": {"matchLabels": {"queue": "q"}}}, "target": average("25")},
            ),
            "/apis/external.metrics.k8s.io/v1beta1/namespaces/default/m",
            lambda pods: [{"metricName": "m", "timestamp": "2026-01-01T00:00:00Z", "value": "60"}, {"value": "40"}],
            "external metric m(queue=q) above target",
        ),
    ],
)  # fmt: skip
async def test_each_kind_of_metric_doubles_what_has_twice_its_target(
    metrics: list[autoscaling_v2.MetricSpec], path: str, answer: Any, reason: str
) -> None:
    async with open_lab("n1") as lab:
        asked: list[Request] = []

        def serve(request: Request) -> Any:
            asked.append(request)
            found = answer(pods) if request.path == path else []
            return {"items": found}

        pods: list[str] = []
        for api in ("metrics", "custom.metrics", "external.metrics"):
            lab.extensions[f"/apis/{api}.k8s.io/"] = serve
        await deploy(lab, 2)
        wanted = spec(least=2, most=6)
        wanted.metrics = metrics
        body = {"spec": {"metrics": msgspec.to_builtins(metrics)}}
        await lab.client.patch(
            autoscaling_v2.HorizontalPodAutoscaler, "auto", body, PatchType.MERGE, namespace="default"
        )

        async def doubled() -> bool:
            pods[:] = [one.metadata.name or "" for one in await lab.pods() if one.metadata]
            return await replicas_of(lab) == 4

        await lab.until(doubled, seconds=60)
        assert f"New size: 4; reason: {reason}" in await lab.events("SuccessfulRescale")
        assert path in {request.path for request in asked}
