"""Why a pod fits nowhere, node by node: every filter is asked about every node, and what would make it pass is worked out.

The scheduler itself stops at the first filter that rules a node out; here all are heard, so that "fits on n3 if 300m cpu were free"
is the whole truth about n3. A plugin of one's own joins in with a method `remedies(pod, cluster, row) -> list[str]`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from lightkube.models import core_v1

from knarr.control import tolerations
from knarr.scheduler import nodeselectors
from knarr.scheduler.cluster import Cluster, Rows
from knarr.scheduler.framework import Denied
from knarr.scheduler.plugins.taint_toleration import BINDING
from knarr.scheduler.podfacts import CPU, EPHEMERAL, MEMORY, PodFacts
from knarr.scheduler.profile import Profile

Remedies = Callable[[PodFacts, Cluster, int], list[str]]
"""What would have to be so that a node passes: each completes "if …"."""


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are ruled out alike.

    Attributes:
        reasons: Plugin and reason, in the order of the plugins.
        remedies: What would make the pod fit there, all of it together; each completes "if …".
        nodes: Their names.
    """

    reasons: Sequence[tuple[str, str]]
    remedies: Sequence[str]
    nodes: Sequence[str]


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the scheduler thinks of a pod.

    Attributes:
        total: How many nodes there are.
        fits: Nodes that can take it now.
        whole: Why it cannot be placed wherever: plugin and reason; empty if it could be.
        groups: The other nodes, those that lack least first.
    """

    total: int
    fits: Sequence[str]
    whole: tuple[str, str] | None
    groups: Sequence[Group]


def explain(pod: PodFacts, cluster: Cluster, profile: Profile) -> Explanation:
    """Ask every plugin about every node."""
    rows = cluster.rows()
    for gate in profile.pre_enqueues:
        denied = gate.pre_enqueue(pod)
        if denied is not None:
            return Explanation(len(rows), (), (gate.name, denied.reason), ())
    outside: dict[str, Rows] = {}
    for plugin in profile.prefilters:
        said = plugin.prefilter(pod, cluster, {})
        if isinstance(said, Denied):
            return Explanation(len(rows), (), (plugin.name, said.reason), ())
        if said is not None:
            outside[plugin.name] = said
    found = _reasons(pod, cluster, profile, rows, outside)
    fits = [cluster.names[row] for row in rows if not found[int(row)]]
    groups: dict[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], list[str]] = {}
    for row, reasons in found.items():
        if reasons:
            key = (tuple(reasons), tuple(_remedies(pod, cluster, profile, row, reasons)))
            groups.setdefault(key, []).append(cluster.names[row])
    made = [Group(reasons, remedies, sorted(names)) for (reasons, remedies), names in groups.items()]
    return Explanation(
        len(rows), sorted(fits), None, sorted(made, key=lambda one: (len(one.remedies), -len(one.nodes), one.nodes))
    )


def _reasons(
    pod: PodFacts, cluster: Cluster, profile: Profile, rows: Rows, outside: Mapping[str, Rows]
) -> dict[int, list[tuple[str, str]]]:
    found: dict[int, list[tuple[str, str]]] = {int(row): [] for row in rows}
    for name, inside in outside.items():
        for row in np.setdiff1d(rows, inside):
            found[int(row)].append((name, f"node(s) didn't satisfy plugin(s) [{name}]"))
    for plugin in profile.filters:
        for rejection in plugin.filter(pod, cluster, rows):
            for row in rows[rejection.mask]:
                if (plugin.name, rejection.reason) not in found[int(row)]:
                    found[int(row)].append((plugin.name, rejection.reason))
    return found


def _remedies(
    pod: PodFacts, cluster: Cluster, profile: Profile, row: int, reasons: Sequence[tuple[str, str]]
) -> list[str]:
    told: list[str] = []
    for name in dict.fromkeys(plugin for plugin, _ in reasons):
        work_out = getattr(profile.plugins.get(name), "remedies", None) or _REMEDIES.get(name)
        said = work_out(pod, cluster, row) if work_out is not None else []
        told += said or [f"{_singular(reason)} did not hold" for plugin, reason in reasons if plugin == name]
    return told


def _singular(reason: str) -> str:
    return f'"{reason.replace("node(s)", "node")}"'


def _resources(pod: PodFacts, cluster: Cluster, row: int) -> list[str]:
    told = []
    if cluster.pods_count[row] + 1 > cluster.pods_allowed[row]:
        told.append(f"it took more than {cluster.pods_allowed[row]} pods or one of them went")
    for name, wanted in pod.requests.items():
        column = cluster.columns.get(name)
        allocatable = int(cluster.allocatable[row, column]) if column is not None else 0
        used = int(cluster.requested[row, column]) if column is not None else 0
        if wanted <= 0 or wanted <= allocatable - used:
            continue
        if wanted > allocatable:
            told.append(f"it had {quantity(name, wanted)} {name} in all (it has {quantity(name, allocatable)})")
        else:
            told.append(f"{quantity(name, wanted - (allocatable - used))} more {name} were free")
    return told


def _taints(pod: PodFacts, cluster: Cluster, row: int) -> list[str]:
    taints = [taint for column, taint in enumerate(cluster.taints) if cluster.tainted[row, column]]
    return [
        f"taint {taint.key}{'=' + taint.value if taint.value else ''}:{taint.effect} were tolerated"
        for taint in taints
        if taint.effect in BINDING and not tolerations.is_tolerated(pod.spec.tolerations, taint)
    ]


def _cordon(pod: PodFacts, cluster: Cluster, row: int) -> list[str]:
    return ["it were uncordoned"]


def _affinity(pod: PodFacts, cluster: Cluster, row: int) -> list[str]:
    labels = cluster.labels(row)
    told = [
        f"it had label {key}={value}"
        for key, value in (pod.spec.nodeSelector or {}).items()
        if labels.get(key) != value
    ]
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    rows = np.array([row], np.intp)
    if required is not None and not nodeselectors.matches_any(cluster, rows, required.nodeSelectorTerms)[0]:
        told.append("it matched " + " or ".join(_term(term) for term in required.nodeSelectorTerms))
    return told


def _term(term: core_v1.NodeSelectorTerm) -> str:
    parts = []
    for one in [*(term.matchExpressions or ()), *(term.matchFields or ())]:
        values = f" ({', '.join(one.values)})" if one.values else ""
        parts.append(f"{one.key} {one.operator}{values}")
    return " and ".join(parts) or "nothing"


def _ports(pod: PodFacts, cluster: Cluster, row: int) -> list[str]:
    told = []
    for protocol, _, number in pod.ports:
        for other in cluster.pods[row].values():
            if any((theirs[0], theirs[2]) == (protocol, number) for theirs in other.ports):
                told.append(f"host port {number}/{protocol} were free (pod {other.namespace}/{other.name} has it)")
    return told


_REMEDIES: Mapping[str, Remedies] = {
    "NodeResourcesFit": _resources,
    "TaintToleration": _taints,
    "NodeUnschedulable": _cordon,
    "NodeAffinity": _affinity,
    "NodePorts": _ports,
}


def quantity(resource: str, amount: int) -> str:
    """Write an amount as people do: 300m, 2, 512Mi."""
    if resource == CPU:
        return f"{amount // 1000}" if amount % 1000 == 0 else f"{amount}m"
    if resource in (MEMORY, EPHEMERAL):
        for unit, size in (("Gi", 2**30), ("Mi", 2**20), ("Ki", 2**10)):
            if amount >= size:
                value = amount / size
                return f"{value:.0f}{unit}" if value == int(value) else f"{value:.1f}{unit}"
    return str(amount)
