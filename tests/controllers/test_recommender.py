from random import Random
from typing import Any

import msgspec
import pytest
from lightkube.models import apps_v1, core_v1, meta_v1

from knarr.api import amounts
from knarr.cli import recommend as command
from knarr.controllers import recommendation, recommender
from knarr.controllers.recommendation import CPU, MEMORY, Histogram, Usage
from knarr.kit.http.messages import Request
from tests.controllers.lab import Lab, open_lab

DAY_S = 86_400.0
MINUTE_S = 60.0
MIB = 2.0**20


def seen(days: float, *, cores: float = 0.3, memory_bytes: float = 400 * MIB) -> Usage:
    """Return the use of one pod that uses the same all the time."""
    usage = Usage()
    for minute in range(int(days * 1440) + 1):
        usage.see("p", cores, memory_bytes, minute * MINUTE_S)
    return usage


def only(usage: Usage) -> recommendation.Recommendation:
    (found,) = recommendation.recommend({"c": usage})
    return found


def test_a_percentile_is_at_most_one_bucket_above_what_was_seen() -> None:
    random, histogram = Random(1), Histogram(CPU)
    values = [random.uniform(0.05, 4) for _ in range(2000)]
    for value in values:
        histogram.add(value, 1.0, 0.0)
    for share in (0.5, 0.9, 0.95):
        exact = sorted(values)[int(share * len(values)) - 1]
        assert exact <= histogram.percentile(share) <= exact * 1.06 + CPU.first
    assert Histogram(CPU).percentile(0.9) == 0.0


def test_what_is_long_ago_counts_little() -> None:
    histogram = Histogram(CPU)
    for number in range(100):
        histogram.add(2.0, 1.0, number * MINUTE_S)
    for number in range(100):
        histogram.add(0.2, 1.0, 7 * DAY_S + number * MINUTE_S)
    assert histogram.percentile(0.9) < 0.25
    assert histogram.percentile(0.999) > 2.0
    for number in range(100):  # so much later that the weights have to be made smaller
        histogram.add(0.5, 1.0, 200 * DAY_S + number * MINUTE_S)
    assert 0.5 <= histogram.percentile(0.01) < 0.55


def test_the_bounds_close_in_on_the_target_with_the_days_that_were_seen() -> None:
    week, hour = only(seen(7)), only(seen(1 / 24))
    for one in (week, hour):
        assert 0.3 * 1.15 <= one.target.cores <= 0.3 * 1.15 * 1.06 + 0.01
        assert one.lower.cores <= one.target.cores <= one.upper.cores
        assert one.lower.memory_bytes <= one.target.memory_bytes <= one.upper.memory_bytes
    assert week.days == pytest.approx(7, abs=0.01)
    assert week.upper.cores == pytest.approx(week.target.cores * (1 + 1 / 7), rel=0.01)
    assert hour.upper.cores == pytest.approx(hour.target.cores * 25, rel=0.05)
    assert hour.lower.cores < week.lower.cores


def test_of_memory_the_highest_of_a_day_counts() -> None:
    usage = seen(0.5)
    usage.see("p", 0.3, 900 * MIB, 0.6 * DAY_S)
    assert 900 * MIB <= usage.memory.percentile(0.5) <= 960 * MIB
    assert sum(usage.memory.weights.values()) == pytest.approx(1.0)
    usage.see("p", 0.3, 300 * MIB, 1.5 * DAY_S)
    assert len(usage.memory.weights) == 2


def test_who_ran_out_of_memory_gets_more_than_it_had() -> None:
    usage = seen(0.1)
    usage.see_oom("p", 512 * MIB, 0.1 * DAY_S)
    assert usage.memory.percentile(0.9) >= 614 * MIB
    usage = seen(0.1)
    usage.see_oom("p", 4096 * MIB, 0.1 * DAY_S)
    assert usage.memory.percentile(0.9) >= 4915 * MIB


def test_no_pod_gets_less_than_it_needs_to_live() -> None:
    idle = {name: seen(1, cores=0.0, memory_bytes=1.0) for name in ("a", "b")}
    assert [one.target.to_json() for one in recommendation.recommend(idle)] == [{"cpu": "13m", "memory": "125Mi"}] * 2


def test_what_was_kept_goes_on_where_it_was() -> None:
    usage = seen(2)
    again = Usage.from_json(msgspec.json.decode(msgspec.json.encode(usage.to_json())))
    assert only(again) == only(usage)
    assert MEMORY.bucket(1e15) == MEMORY.last


def deployment(name: str) -> apps_v1.Deployment:
    labels = {"app": name}
    resources = core_v1.ResourceRequirements(requests={"cpu": "100m", "memory": "64Mi"})
    container = core_v1.Container(name="c", image="web", resources=resources)
    return apps_v1.Deployment(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default"),
        spec=apps_v1.DeploymentSpec(
            replicas=2,
            selector=meta_v1.LabelSelector(matchLabels=labels),
            template=core_v1.PodTemplateSpec(
                metadata=meta_v1.ObjectMeta(labels=labels), spec=core_v1.PodSpec(containers=[container])
            ),
        ),
    )


def serve_usage(lab: Lab, pods: list[str]) -> None:
    """Answer the metrics API: each pod uses half a core and 700 MiB."""

    def answer(request: Request) -> dict[str, Any]:
        usage = {"cpu": "500m", "memory": "700Mi"}
        at = lab.clock.now().isoformat()
        return {
            "items": [
                {
                    "metadata": {"namespace": "default", "name": name}, "timestamp": at, "window": "30s",
                    "containers": [{"name": "c", "usage": usage}],
                }
                for name in pods
            ]
        }  # fmt: skip

    lab.extensions["/apis/metrics.k8s.io/"] = answer


async def test_a_recommendation_stands_beside_its_workload_outlives_a_restart_and_goes_with_it() -> None:
    async with open_lab("n1", controllers=["*", "vertical-recommender"]) as lab:
        names: list[str] = []
        serve_usage(lab, names)
        await lab.client.create(deployment("web"))

        async def running() -> bool:
            names[:] = [one.metadata.name or "" for one in await lab.pods() if one.metadata]
            return len(names) == 2

        async def proposal() -> Any:
            found = await recommender.proposals(lab.client, "default")
            return found[0] if found else None

        await lab.until(running)
        first = await lab.until(proposal, seconds=200)
        assert (first["kind"], first["name"]) == ("Deployment", "web")
        assert first["containerRecommendations"][0]["requests"] == {"cpu": "100m", "memory": "64Mi"}
        for _ in range(25):
            await lab.clock.advance(60)
        (one,) = (await proposal())["containerRecommendations"]
        assert 575 <= int(one["target"]["cpu"].removesuffix("m")) <= 620
        assert 805 <= amounts.nanos(one["target"]["memory"]) / amounts.NANOS / MIB <= 860
        assert 0.01 < one["confidenceDays"] < 0.06
        kept = await lab.client.get(core_v1.ConfigMap, "recommendation-deployment-web", namespace="default")
        assert kept.data is not None
        restored = recommender.Observations()
        workload = recommender.Workload("default", "Deployment", "web", "uid", "apps/v1")
        restored.restore(workload, msgspec.json.decode(kept.data[recommender.USAGE]))
        again = restored.proposal(workload, lab.clock.now())["containerRecommendations"][0]
        assert again["target"] == one["target"]
        await lab.client.delete(apps_v1.Deployment, "web", namespace="default")

        async def is_gone() -> bool:
            return await proposal() is None

        await lab.until(is_gone, seconds=60)


async def test_without_a_metrics_api_the_nodes_are_asked_and_without_them_nothing_breaks() -> None:
    async with open_lab("n1", controllers=["*", "vertical-recommender"]) as lab:
        await lab.client.create(deployment("web"))
        names: list[str] = []

        def summary(request: Request) -> dict[str, Any]:
            use = {"cpu": {"time": "t", "usageNanoCores": 250_000_000}, "memory": {"workingSetBytes": int(300 * MIB)}}
            return {
                "pods": [
                    {"podRef": {"name": name, "namespace": "default"}, "containers": [{"name": "c", **use}]}
                    for name in names
                ]
            }

        async def running() -> bool:
            names[:] = [one.metadata.name or "" for one in await lab.pods() if one.metadata]
            return len(names) == 2

        async def proposal() -> Any:
            return await recommender.proposals(lab.client)

        await lab.until(running)
        for _ in range(3):
            await lab.clock.advance(30)
        assert not await proposal()
        lab.extensions["/api/v1/nodes/n1/proxy/stats/summary"] = summary
        for _ in range(3):
            await lab.clock.advance(30)
        ((one,),) = [found["containerRecommendations"] for found in await proposal()]
        assert 287 <= int(one["target"]["cpu"].removesuffix("m")) <= 320


def test_the_table() -> None:
    bound = {"cpu": "10m", "memory": "250Mi"}
    bounds = dict.fromkeys(("lowerBound", "target", "upperBound"), bound)
    container = {"containerName": "c", "confidenceDays": 1.0, **bounds}
    proposal = {"kind": "Deployment", "namespace": "default", "name": "web", "containerRecommendations": [container]}
    lines = command.format_lines([proposal])
    assert lines[0].split() == [*command.HEADER]
    assert lines[1].split() == ["default/deployment/web", "c", "cpu", "-", "10m", "10m", "10m", "1.000"]
    assert command.format_lines([]) == ["nothing is known of what these workloads use"]
    meant = [command.is_meant(proposal, text) for text in ("", "deployment/web", "Deployments/web", "job/web")]
    assert meant == [True, True, True, False]
