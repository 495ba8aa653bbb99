from lightkube.models import core_v1

from knarr.scheduler.explain import explain
from knarr.scheduler.plugins import order
from tests.scheduler import objects
from tests.scheduler.objects import cluster, facts, node

PROFILE = order.default(objects.TOOLS)


def test_each_node_tells_all_that_it_lacks() -> None:
    taint = core_v1.Taint(key="dedicated", value="db", effect="NoSchedule")
    made = cluster(
        node("busy", cpu="4"),
        node("small", cpu="1"),
        node("small2", cpu="1"),
        node("db", cpu="4", taints=[taint]),
        node("other", labels={"disk": "tape"}, unschedulable=True),
        busy=[facts("old", cpu="2700m")],
        db=[facts("old2", cpu="3")],
    )
    found = explain(facts("p", cpu="1600m"), made, PROFILE)
    assert (found.total, found.fits, found.whole) == (5, [], None)
    assert [(group.nodes, group.remedies) for group in found.groups] == [
        (["small", "small2"], ("it had 1600m cpu in all (it has 1)",)),
        (["busy"], ("300m more cpu were free",)),
        (["other"], ("it were uncordoned",)),
        (["db"], ("taint dedicated=db:NoSchedule were tolerated", "600m more cpu were free")),
    ]
    assert found.groups[3].reasons == (
        ("TaintToleration", "node(s) had untolerated taint(s)"),
        ("NodeResourcesFit", "Insufficient cpu"),
    )


def test_what_lies_in_the_pod_is_told_once() -> None:
    gated = facts("p", schedulingGates=[core_v1.PodSchedulingGate(name="hold")])
    assert explain(gated, cluster(node("n")), PROFILE).whole == (
        "SchedulingGates", "waiting for scheduling gates: [hold]",
    )  # fmt: skip


def test_labels_ports_and_affinity() -> None:
    port = core_v1.ContainerPort(containerPort=80, hostPort=80)
    made = cluster(node("a"), node("b", labels={"disk": "ssd"}), b=[facts("old", ports=[port])])
    found = explain(facts("p", nodeSelector={"disk": "ssd"}, ports=[port]), made, PROFILE)
    assert [(group.nodes, group.remedies) for group in found.groups] == [
        (["a"], ("it had label disk=ssd",)),
        (["b"], ("host port 80/TCP were free (pod default/old has it)",)),
    ]
