"""Which pods should move: the scheduler looks at a pod once, and what was right then may be wrong by now.

Each strategy names pods and says why; the first that names a pod has it. A pod is named only if another node would take it. Nothing is done
here: `descheduler` evicts what the plan names, as far as disruption budgets let it.

Upstream counterpart: sigs.k8s.io/descheduler pkg/framework/plugins (v0.3x).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from lightkube.models import core_v1, meta_v1

from knarr.control import informer, owners, selectors
from knarr.controllers import nodes as placement
from knarr.controllers.deschedule_view import NodeView, View, by_priority, requests_of


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When nodes count as idle or busy, in percent of what they have.

    Attributes:
        idle: A node is idle below this in everything.
        busy: A node is busy above this in anything.
    """

    idle: float = 20.0
    busy: float = 50.0


@dataclass(frozen=True, slots=True)
class Eviction:
    """A pod that should move.

    Attributes:
        pod: Which.
        node: Where it is.
        strategy: Which strategy says so.
        why: In words.
        taker: A node that would take it; the scheduler may choose another.
    """

    pod: core_v1.Pod
    node: str
    strategy: str
    why: str
    taker: str


Strategy = Callable[[View, Thresholds], Iterator[Eviction]]


def plan(view: View, thresholds: Thresholds, strategies: Sequence[str] | None = None) -> list[Eviction]:
    """Name the pods that should move.

    Args:
        view: The cluster; it is changed as if each pod that is named had gone.
        thresholds: For the use of nodes.
        strategies: Which, by name; None takes all.

    Returns:
        Evictions, at most as many as the limits allow.
    """
    found: list[Eviction] = []
    per_node: dict[str, int] = {}
    named: set[tuple[str, str]] = set()
    for name, strategy in STRATEGIES.items():
        if strategies is not None and name not in strategies:
            continue
        for eviction in strategy(view, thresholds):
            key, count = informer.key_of(eviction.pod), per_node.get(eviction.node, 0)
            if view.limits.total is not None and len(found) >= view.limits.total:
                return found
            if key in named or (view.limits.per_node is not None and count >= view.limits.per_node):
                continue
            named.add(key)
            per_node[eviction.node] = count + 1
            view.nodes[eviction.node].remove(eviction.pod)
            view.nodes[eviction.taker].reserve(eviction.pod)
            found.append(eviction)
    return found


def node_taints(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods that do not tolerate a taint of their node that keeps new pods away."""
    for node in view.nodes.values():
        for pod in [*node.pods]:
            assert pod.spec
            if placement.is_tolerated(pod.spec.tolerations, node.node, ("NoSchedule",)):
                continue
            taker = view.elsewhere(pod) if view.may_move(pod) else None
            if taker is not None:
                yield Eviction(pod, node.name, "node-taints", "does not tolerate a taint of its node", taker.name)


def node_affinity(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods whose node no longer has the labels that they require."""
    for node in view.nodes.values():
        for pod in [*node.pods]:
            assert pod.spec
            if placement.is_selected(pod.spec, node.node) or not view.may_move(pod):
                continue
            taker = view.elsewhere(pod)
            if taker is not None:
                why = "requires labels that its node does not have"
                yield Eviction(pod, node.name, "node-affinity", why, taker.name)


def anti_affinity(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods that are where the required anti-affinity of another forbids it; of two the lower priority goes."""
    gone: set[tuple[str, str]] = set()
    for node in view.nodes.values():
        for pod in by_priority(node.pods):
            if not view.may_move(pod):
                continue
            rival = next((one for one in _rivals(view, node, pod) if informer.key_of(one) not in gone), None)
            free = (one for one in view.nodes.values() if next(_rivals(view, one, pod), None) is None)
            taker = view.elsewhere(pod, free) if rival is not None else None
            if rival is not None and taker is not None:
                gone.add(informer.key_of(pod))
                why = f"violates anti-affinity with {'/'.join(informer.key_of(rival))}"
                yield Eviction(pod, node.name, "anti-affinity", why, taker.name)


def topology_spread(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods whose topology spread constraints are violated by more than they allow, from the fullest domains."""
    seen: set[tuple[str, bytes]] = set()
    for pod in view.pods:
        assert pod.spec and pod.metadata
        for constraint in pod.spec.topologySpreadConstraints or ():
            key = (pod.metadata.namespace or "", repr(constraint).encode())
            if constraint.whenUnsatisfiable != "DoNotSchedule" or key in seen:
                continue
            seen.add(key)
            yield from _balance(view, pod, constraint)


def duplicates(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods of which a node has more than its share, while other nodes would take them."""
    groups: dict[tuple[str, ...], list[tuple[NodeView, core_v1.Pod]]] = {}
    for node in view.nodes.values():
        for pod in node.pods:
            reference = owners.controller_of(pod)
            if reference is not None and reference.kind != "DaemonSet" and pod.spec:
                images = sorted(one.image or "" for one in pod.spec.containers)
                key = (informer.key_of(pod)[0], reference.kind, reference.name, *images)
                groups.setdefault(key, []).append((node, pod))
    for members in groups.values():
        sample = members[0][1]
        assert sample.spec
        takers = [
            node for node in view.nodes.values() if view.fits(sample, node) or any(node is at for at, _ in members)
        ]
        share = math.ceil(len(members) / len(takers)) if takers else 0
        if len(members) < 2 or len(takers) < 2:
            continue
        for node in takers:
            mine = [pod for at, pod in members if at is node]
            for pod in by_priority(mine)[: max(0, len(mine) - share)]:
                targets = [one for one in takers if sum(at is one for at, _ in members) < share]
                taker = view.elsewhere(pod, targets) if view.may_move(pod) else None
                if taker is not None:
                    why = f"{len(mine)} of its kind share the node, {share} would do"
                    members.remove((node, pod))
                    members.append((taker, pod))
                    yield Eviction(pod, node.name, "duplicates", why, taker.name)


def low_utilization(view: View, thresholds: Thresholds) -> Iterator[Eviction]:
    """Name pods of busy nodes, as long as idle ones have room for them."""
    resources = ("cpu", "memory", "pods")
    idle = [
        node
        for node in view.nodes.values()
        if node.is_open() and all(node.share(resource) < thresholds.idle for resource in resources)
    ]
    busy = [node for node in view.nodes.values() if any(node.share(one) > thresholds.busy for one in resources)]
    if not idle:
        return
    left = {
        resource: sum(
            max(0, int(node.room[resource] * thresholds.busy / 100) - node.used.get(resource, 0)) for node in idle
        )
        for resource in resources
    }
    for node in sorted(busy, key=lambda one: max(one.share(resource) for resource in resources), reverse=True):
        for pod in by_priority(node.pods):
            over = [resource for resource in resources if node.share(resource) > thresholds.busy]
            wanted = requests_of(pod)
            if not over or any(left[resource] < wanted[resource] for resource in resources):
                break
            if not view.may_move(pod) or not any(wanted[resource] for resource in over):
                continue
            taker = view.elsewhere(pod, idle)
            if taker is None:
                continue
            for resource in resources:
                left[resource] -= wanted[resource]
            shares = ", ".join(f"{resource} {node.share(resource):.0f} %" for resource in over)
            why = f"its node is busy ({shares}) while others are idle"
            yield Eviction(pod, node.name, "low-utilization", why, taker.name)


STRATEGIES: dict[str, Strategy] = {
    "node-taints": node_taints,
    "node-affinity": node_affinity,
    "anti-affinity": anti_affinity,
    "topology-spread": topology_spread,
    "duplicates": duplicates,
    "low-utilization": low_utilization,
}
"""All strategies in their order: first what is against the rules, then what is merely unbalanced."""


def _rivals(view: View, node: NodeView, pod: core_v1.Pod) -> Iterator[core_v1.Pod]:
    """Yield pods that, by the anti-affinity of either side, must not be in one domain with a pod."""
    for other in view.pods:
        if other is pod or other.spec is None:
            continue
        place = view.nodes.get(other.spec.nodeName or "")
        if place is not None and any(
            _same_domain(node, place, term.topologyKey) and _selects(view, owner, term, subject)
            for owner, subject in ((other, pod), (pod, other))
            for term in _anti_terms(owner)
        ):
            yield other


def _anti_terms(pod: core_v1.Pod) -> Sequence[core_v1.PodAffinityTerm]:
    affinity = pod.spec.affinity.podAntiAffinity if pod.spec and pod.spec.affinity else None
    return (affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None) or ()


def _selects(view: View, owner: core_v1.Pod, term: core_v1.PodAffinityTerm, subject: core_v1.Pod) -> bool:
    namespace = informer.key_of(subject)[0]
    named = [*(term.namespaces or ())]
    if not named and term.namespaceSelector is None:
        named.append(informer.key_of(owner)[0])
    chosen = namespace in named or (
        term.namespaceSelector is not None and _matches(term.namespaceSelector, dict(view.namespace_labels(namespace)))
    )
    labels = (subject.metadata.labels or {}) if subject.metadata else {}
    return chosen and term.labelSelector is not None and _matches(term.labelSelector, labels)


def _matches(selector: meta_v1.LabelSelector, labels: dict[str, str]) -> bool:
    return selectors.is_empty(selector) or selectors.matches(selector, labels)


def _same_domain(left: NodeView, right: NodeView, key: str) -> bool:
    domain = _domain(left, key)
    return domain is not None and domain == _domain(right, key)


def _domain(node: NodeView, key: str) -> str | None:
    return (node.node.metadata.labels or {}).get(key) if node.node.metadata else None


def _balance(view: View, sample: core_v1.Pod, constraint: core_v1.TopologySpreadConstraint) -> Iterator[Eviction]:
    assert sample.metadata and sample.spec
    domains: dict[str, list[tuple[NodeView, core_v1.Pod]]] = {}
    for node in view.nodes.values():
        domain = _domain(node, constraint.topologyKey)
        if domain is None or not placement.is_selected(sample.spec, node.node):
            continue
        members = domains.setdefault(domain, [])
        for pod in node.pods:
            labels = (pod.metadata.labels or {}) if pod.metadata else {}
            is_near = informer.key_of(pod)[0] == sample.metadata.namespace
            if is_near and selectors.matches(constraint.labelSelector, labels):
                members.append((node, pod))
    while len(domains) > 1:
        fullest = max(domains, key=lambda domain: len(domains[domain]))
        emptiest = min(domains, key=lambda domain: len(domains[domain]))
        if len(domains[fullest]) - len(domains[emptiest]) <= constraint.maxSkew:
            return
        targets = [node for node in view.nodes.values() if _domain(node, constraint.topologyKey) == emptiest]
        order = {informer.key_of(pod): at for at, pod in enumerate(by_priority([pod for _, pod in domains[fullest]]))}
        ranked = sorted(domains[fullest], key=lambda pair: order[informer.key_of(pair[1])])
        found = ((at, pod, view.elsewhere(pod, targets)) for at, pod in ranked if view.may_move(pod))
        moved = next(((at, pod, taker) for at, pod, taker in found if taker is not None), None)
        if moved is None:
            return
        node, pod, taker = moved
        domains[fullest].remove((node, pod))
        domains[emptiest].append((taker, pod))
        why = f"{constraint.topologyKey}={fullest} has more than {constraint.maxSkew} above {emptiest}"
        yield Eviction(pod, node.name, "topology-spread", why, taker.name)
