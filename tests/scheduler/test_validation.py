from typing import Any

import pytest
import yaml

from knarr.scheduler import configuration, validation
from knarr.scheduler.errors import BadConfiguration

HEAD = "apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\n"


def args(name: str, **given: Any) -> str:
    return yaml.safe_dump({"profiles": [{"pluginConfig": [{"name": name, "args": given}]}]})


ARGS = "profiles[0].pluginConfig[0].args"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("parallelism: 0", ["parallelism: Invalid value: 0: should be an integer value greater than zero"]),
        ("percentageOfNodesToScore: 101", ["percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100]"]),
        (
            "podInitialBackoffSeconds: 5\npodMaxBackoffSeconds: 2",
            ["podMaxBackoffSeconds: Invalid value: 2: must be greater than or equal to PodInitialBackoffSeconds"],
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: a}, {}]",
            [
                'profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName"',
                "profiles[2].schedulerName: Required value",
            ],
        ),
        (
            "profiles: [{schedulerName: a}, {schedulerName: b, plugins: {queueSort: {enabled: [{name: X}]}}}]",
            [
                'profiles[1].plugins.queueSort: Invalid value: {"enabled":[{"name":"X"}]}: must be the same for all profiles'
            ],
        ),
        (
            "profiles: [{plugins: {filter: {enabled: [{name: EBSLimits}]}}}]",
            [
                'profiles[0].plugins.filter.enabled[0]: Invalid value: "EBSLimits": was invalid in version "v1" '
                '(KubeSchedulerConfiguration is version "kubescheduler.config.k8s.io/v1")'
            ],
        ),
        (
            args("DefaultPreemption", minCandidateNodesPercentage=0, minCandidateNodesAbsolute=0),
            [
                f"{ARGS}.minCandidateNodesPercentage: Invalid value: 0: cannot be zero at the same time as "
                "minCandidateNodesAbsolute",
                f"{ARGS}.minCandidateNodesAbsolute: Invalid value: 0: cannot be zero at the same time as "
                "minCandidateNodesPercentage",
            ],
        ),
        (
            args("DefaultPreemption", minCandidateNodesPercentage=-1, minCandidateNodesAbsolute=-2),
            [
                f"{ARGS}.minCandidateNodesPercentage: Invalid value: -1: not in valid range [0, 100]",
                f"{ARGS}.minCandidateNodesAbsolute: Invalid value: -2: not in valid range [0, inf)",
            ],
        ),
        (
            args("InterPodAffinity", hardPodAffinityWeight=101),
            [f"{ARGS}.hardPodAffinityWeight: Invalid value: 101: not in valid range [0, 100]"],
        ),
        (
            args("NodeResourcesFit", kind="PodTopologySpreadArgs"),
            [f'{ARGS}: Invalid value: {{"kind":"PodTopologySpreadArgs"}}: has to match plugin args'],
        ),
        (
            args("NodeResourcesFit", ignoredResourceGroups=["a/b"], scoringStrategy={"type": "Best"}),
            [
                f"{ARGS}.ignoredResourceGroups[0]: Invalid value: \"a/b\": resource group name can't contain '/'",
                f'{ARGS}.scoringStrategy.type: Unsupported value: "Best": supported values: "LeastAllocated", '
                '"MostAllocated", "RequestedToCapacityRatio"',
            ],
        ),
        (
            args("NodeResourcesFit", scoringStrategy={"resources": [{"name": "cpu", "weight": 0}]}),
            [
                f"{ARGS}.scoringStrategy.resources[0].weight: Invalid value: 0: resource weight of cpu not in valid "
                "range (0, 100]"
            ],
        ),
        (
            args("NodeResourcesFit", scoringStrategy={"type": "RequestedToCapacityRatio"}),
            [
                f"{ARGS}.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is "
                "RequestedToCapacityRatio"
            ],
        ),
        (
            args(
                "NodeResourcesFit",
                scoringStrategy={
                    "type": "RequestedToCapacityRatio",
                    "requestedToCapacityRatio": {
                        "shape": [{"utilization": 50, "score": 11}, {"utilization": 50, "score": 1}]
                    },
                },
            ),
            [
                f"{ARGS}.scoringStrategy.requestedToCapacityRatio.shape[1].utilization: Invalid value: 50: values must "
                "be sorted in increasing order",
                f"{ARGS}.scoringStrategy.requestedToCapacityRatio.shape[0].score: Invalid value: 11: not in valid "
                "range [0, 10]",
            ],
        ),
        (
            args("NodeResourcesBalancedAllocation", resources=[{"name": "cpu"}, {"name": "cpu", "weight": 2}]),
            [
                f'{ARGS}.resources[1].name: Duplicate value: "cpu"',
                f"{ARGS}.resources[1].weight: Invalid value: 2: must be 1",
            ],
        ),
        (
            args("PodTopologySpread", defaultConstraints=[{"maxSkew": 0, "labelSelector": {}}]),
            [
                f'{ARGS}.defaultingType: Invalid value: "System": when .defaultConstraints are not empty',
                f"{ARGS}.defaultConstraints[0].maxSkew: Invalid value: 0: not in valid range (0, inf)",
                f"{ARGS}.defaultConstraints[0].topologyKey: Required value: can not be empty",
                f"{ARGS}.defaultConstraints[0].whenUnsatisfiable: Required value: can not be empty",
                f"{ARGS}.defaultConstraints[0].labelSelector: Forbidden: constraint must not define a selector, as they "
                "deduced for each pod",
            ],
        ),
        (
            args("VolumeBinding", bindTimeoutSeconds=-1),
            [
                f"{ARGS}.bindTimeoutSeconds: Invalid value: -1: invalid BindTimeoutSeconds, should not be a negative value"
            ],
        ),
        (
            "extenders: [{urlPrefix: 'http://a', prioritizeVerb: p, weight: 0, bindVerb: b}, {urlPrefix: 'http://b', bindVerb: b}]",
            [
                "extenders[0].weight: Invalid value: 0: must have a positive weight applied to it",
                'extenders: Invalid value: "found 2 extenders implementing bind": only one extender can implement bind',
            ],
        ),
        (
            "extenders: [{urlPrefix: 'http://a', managedResources: [{name: cpu}, {name: e.com/x}, {name: e.com/x}]}]",
            [
                'extenders[0].managedResources[0].name: Invalid value: "cpu": is an invalid extended resource name',
                'extenders[0].managedResources[2].name: Invalid value: "e.com/x": duplicate extender managed resource name',
            ],
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_upstreams_words(text: str, told: list[str]) -> None:
    assert [str(one) for one in validation.validate(yaml.safe_load(text))] == told
    with pytest.raises(BadConfiguration) as caught:
        configuration.parse(HEAD + text)
    assert str(caught.value) == (told[0] if len(told) == 1 else f"[{', '.join(told)}]")


def test_what_makes_sense_is_taken() -> None:
    strategy = {
        "type": "RequestedToCapacityRatio",
        "resources": [{"name": "example.com/gpu", "weight": 100}],
        "requestedToCapacityRatio": {"shape": [{"utilization": 0, "score": 0}, {"utilization": 100, "score": 10}]},
    }
    text = HEAD + args("NodeResourcesFit", kind="NodeResourcesFitArgs", scoringStrategy=strategy)
    assert configuration.parse(text).profiles[0].args["NodeResourcesFit"]["scoringStrategy"] == strategy
