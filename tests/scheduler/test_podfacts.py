from lightkube.models import core_v1, meta_v1

from knarr.scheduler import podfacts


def container(name: str, cpu: str = "", *, sidecar: bool = False) -> core_v1.Container:
    requests = {"cpu": cpu} if cpu else None
    policy = "Always" if sidecar else None
    return core_v1.Container(name=name, resources=core_v1.ResourceRequirements(requests=requests), restartPolicy=policy)


def cpu_of(containers: list[core_v1.Container], init: list[core_v1.Container] | None = None, **more: object) -> int:
    spec = core_v1.PodSpec(containers=containers, initContainers=init, **more)  # type: ignore[arg-type]
    return podfacts.of(core_v1.Pod(metadata=meta_v1.ObjectMeta(), spec=spec)).requests.get("cpu", 0)


def test_containers_add_up_and_init_containers_count_by_their_peak() -> None:
    assert cpu_of([container("a", "100m"), container("b", "200m")]) == 300
    assert cpu_of([container("a", "100m")], [container("i", "1"), container("j", "500m")]) == 1000


def test_sidecars_stay_beside_all_that_starts_after_them() -> None:
    sidecar = container("s", "200m", sidecar=True)
    assert cpu_of([container("a", "100m")], [sidecar]) == 300
    assert cpu_of([container("a", "100m")], [sidecar, container("i", "1")]) == 1200
    assert cpu_of([container("a", "100m")], [container("i", "1"), sidecar]) == 1000


def test_overhead_and_pod_level_requests() -> None:
    assert cpu_of([container("a", "100m")], overhead={"cpu": "50m"}) == 150
    assert cpu_of([container("a", "100m")], resources=core_v1.ResourceRequirements(requests={"cpu": "1"})) == 1000


def test_what_asks_for_nothing_has_a_default_in_scores_only() -> None:
    spec = core_v1.PodSpec(containers=[container("a")])
    facts = podfacts.of(core_v1.Pod(metadata=meta_v1.ObjectMeta(), spec=spec))
    assert facts.requests == {}
    assert (facts.cpu_score, facts.memory_score) == (100, 200 * 1024 * 1024)


def resized(spec: str, actual: str, allocated: str, *, infeasible: bool = False) -> core_v1.Pod:
    got = core_v1.ContainerStatus(
        name="a", image="", imageID="", ready=True, restartCount=0,
        resources=core_v1.ResourceRequirements(requests={"cpu": actual}), allocatedResources={"cpu": allocated},
    )  # fmt: skip
    pending = core_v1.PodCondition(type="PodResizePending", status="True", reason="Infeasible")
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(uid="u"),
        spec=core_v1.PodSpec(containers=[container("a", spec)], nodeName="n"),
        status=core_v1.PodStatus(containerStatuses=[got], conditions=[pending] if infeasible else None),
    )


def test_while_a_resize_is_under_way_the_most_of_all_figures_counts() -> None:
    def cpu(pod: core_v1.Pod) -> int:
        return podfacts.of(pod).requests["cpu"]

    assert cpu(resized("100m", "300m", "300m")) == 300  # shrinks, and has not yet
    assert cpu(resized("500m", "300m", "300m")) == 500  # grows
    assert cpu(resized("500m", "300m", "300m", infeasible=True)) == 300  # never will
    assert cpu(resized("100m", "300m", "100m")) == 300
    assert podfacts.granted(resized("0.1", "100m", "100m")) == {}


def test_facts_follow_a_resize_and_only_that() -> None:
    known = podfacts.of(resized("100m", "300m", "300m"))
    assert podfacts.again(known, resized("100m", "300m", "300m")).requests is known.requests
    done = podfacts.again(known, resized("100m", "100m", "100m"))
    assert done.requests == {"cpu": 100}
