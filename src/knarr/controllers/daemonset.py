"""DaemonSets: one pod of a template on every node that it fits.

What it observes: the DaemonSet, all nodes, the pods that it controls and its ControllerRevisions. The pods name their node by affinity; the
scheduler binds them. Updates replace pods node by node, old ones first (maxUnavailable) or new ones first (maxSurge).

Upstream counterpart: pkg/controller/daemon.
"""

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from lightkube.models import apps_v1, core_v1, meta_v1
from msgspec.structs import replace

from knarr.api import errors, intstr
from knarr.control import Context, informer, loop, owners, selectors
from knarr.controllers import batches, history, nodes, statuses
from knarr.controllers import pods as podinfo
from knarr.controllers.podcontrol import PodControl
from knarr.kit.backoff import Curve, KeyedBackoff

BURST = 250
FAILURES = Curve(first_s=1.0, limit_s=900.0)
"""Between pods that fail on one node, such as those that it does not admit."""
HASH = history.REVISION_LABEL
_ALWAYS_TOLERATED = (
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
)
_HOST_NETWORK_TOLERATED = ("node.kubernetes.io/network-unavailable", "NoSchedule")

PodsByNode = Mapping[str, Sequence[core_v1.Pod]]


@dataclass(frozen=True, slots=True)
class Plan:
    """The next step.

    Attributes:
        create: Nodes that get a pod.
        delete: Pods that go.
        failed: Those of them that go because they failed.
    """

    create: Sequence[str] = ()
    delete: Sequence[core_v1.Pod] = ()
    failed: Sequence[core_v1.Pod] = ()


@dataclass(frozen=True, slots=True)
class Observed:
    """All that a plan depends on.

    Attributes:
        daemon_set: As last seen.
        nodes: All nodes.
        pods: By the node that each is on or is meant for.
        digest: The hash of the present template.
        now: The wall time.
        held: Nodes where pods failed so recently that their failed pods stay a while.
    """

    daemon_set: apps_v1.DaemonSet
    nodes: Sequence[core_v1.Node]
    pods: PodsByNode
    digest: str
    now: datetime
    held: frozenset[str] = frozenset()


def plan(observed: Observed) -> Plan:
    """Decide which nodes get a pod and which pods go."""
    managed = _manage(observed)
    if managed.create or managed.delete or _strategy(observed.daemon_set) != "RollingUpdate":
        return managed
    return _roll(observed)


def should_run(spec: core_v1.PodSpec, node: core_v1.Node) -> tuple[bool, bool]:
    """Tell whether a node should get a pod, and whether one that is there may stay.

    Source: NodeShouldRunDaemonPod.
    """
    if spec.nodeName and spec.nodeName != informer.key_of(node)[1]:
        return False, False
    if not nodes.is_selected(spec, node):
        return False, False
    tolerations = with_tolerations(spec).tolerations
    starts = nodes.is_tolerated(tolerations, node, {"NoSchedule", "NoExecute"})
    return starts, starts or nodes.is_tolerated(tolerations, node, {"NoExecute"})


def with_tolerations(spec: core_v1.PodSpec) -> core_v1.PodSpec:
    """Return a pod spec that tolerates what daemons tolerate."""
    wanted = [*_ALWAYS_TOLERATED, *([_HOST_NETWORK_TOLERATED] if spec.hostNetwork else [])]
    current = list(spec.tolerations or ())
    for key, effect in wanted:
        fresh = core_v1.Toleration(key=key, operator="Exists", effect=effect)
        if fresh not in current:
            current.append(fresh)
    return replace(spec, tolerations=current)


def pod_for(daemon_set: apps_v1.DaemonSet, node: str, digest: str) -> core_v1.Pod:
    """Build the pod of a node; its affinity names the node and nothing else."""
    assert daemon_set.spec and daemon_set.metadata and daemon_set.spec.template
    pod = podinfo.from_template(
        daemon_set.spec.template,
        namespace=daemon_set.metadata.namespace or "",
        generate_name=f"{daemon_set.metadata.name}-",
        owner=owners.controller_reference(daemon_set),
    )
    assert pod.metadata and pod.spec
    by_name = core_v1.NodeSelectorRequirement(key="metadata.name", operator="In", values=[node])
    term = core_v1.NodeSelectorTerm(matchFields=[by_name])
    required = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    selector = required.requiredDuringSchedulingIgnoredDuringExecution if required else None
    if selector is not None and selector.nodeSelectorTerms:
        # As upstream: what the template requires was checked when the node was chosen.
        selector = replace(selector, nodeSelectorTerms=[term])
    else:
        selector = core_v1.NodeSelector(nodeSelectorTerms=[term])
    affinity = replace(
        pod.spec.affinity or core_v1.Affinity(),
        nodeAffinity=replace(
            required or core_v1.NodeAffinity(), requiredDuringSchedulingIgnoredDuringExecution=selector
        ),
    )
    labels = {**(pod.metadata.labels or {}), HASH: digest}
    return replace(
        pod,
        metadata=replace(pod.metadata, labels=labels),
        spec=replace(with_tolerations(pod.spec), affinity=affinity),
    )


def target_node(pod: core_v1.Pod) -> str:
    """Return the node that a daemon pod is on, or is meant for."""
    assert pod.spec
    if pod.spec.nodeName:
        return pod.spec.nodeName
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity else None
    for term in required.nodeSelectorTerms if required else ():
        for one in term.matchFields or ():
            if one.key == "metadata.name" and one.values:
                return str(one.values[0])
    return ""


def compute_status(observed: Observed, collisions: int | None) -> apps_v1.DaemonSetStatus:
    """Return the status that the DaemonSet should have."""
    daemon_set = observed.daemon_set
    assert daemon_set.spec and daemon_set.metadata and daemon_set.spec.template and daemon_set.spec.template.spec
    desired = current = misscheduled = ready = available = updated = 0
    for node in observed.nodes:
        starts, _ = should_run(daemon_set.spec.template.spec, node)
        pods = observed.pods.get(informer.key_of(node)[1], ())
        if not starts:
            misscheduled += bool(pods)
            continue
        desired += 1
        if not pods:
            continue
        current += 1
        newest = max(pods, key=_created)
        if podinfo.is_ready(newest):
            ready += 1
            available += podinfo.is_available(newest, daemon_set.spec.minReadySeconds or 0, observed.now)
        updated += _is_updated(observed, newest)
    return apps_v1.DaemonSetStatus(
        currentNumberScheduled=current,
        desiredNumberScheduled=desired,
        numberMisscheduled=misscheduled,
        numberReady=ready,
        updatedNumberScheduled=updated or None,
        numberAvailable=available or None,
        numberUnavailable=(desired - available) or None,
        observedGeneration=daemon_set.metadata.generation,
        collisionCount=collisions,
    )


class Reconciler:
    """Carries out the plans of DaemonSets.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._daemon_sets = context.informers.of(apps_v1.DaemonSet)
        self._revisions = context.informers.of(apps_v1.ControllerRevision)
        self._revisions.add_index(owners.INDEX, owners.by_controller)
        self._nodes = context.informers.of(core_v1.Node)
        self._failures: KeyedBackoff[tuple[str, str]] = KeyedBackoff(FAILURES)
        self._held_until_s: dict[tuple[str, str], float] = {}
        self.pods = PodControl(context, "DaemonSet", self._daemon_sets, _selector_of)

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Write the history, create or delete pods, then tell the status."""
        daemon_set = self._daemon_sets.get(request.namespace, request.name)
        if daemon_set is None:
            return loop.Result()
        assert daemon_set.metadata and daemon_set.spec
        if selectors.is_empty(daemon_set.spec.selector):
            text = "This daemon set is selecting all pods. A non-empty selector is required."
            self._recorder.warning(daemon_set, "SelectingAll", text)
            return loop.Result()
        if daemon_set.metadata.deletionTimestamp is not None:
            return loop.Result()
        revision = await self._revision(daemon_set)
        if revision is None:
            return loop.Result()
        digest = history.hash_of(revision, HASH)
        observed = await self._observe(daemon_set, digest)
        failure: errors.StatusError | None = None
        planned = Plan()
        if self.pods.is_settled(daemon_set):
            planned = plan(observed)
            failure = await self._act(daemon_set, planned, digest)
            if not (planned.create or planned.delete):
                await self._prune(daemon_set, revision, observed)
        before = daemon_set.status
        status = compute_status(observed, before.collisionCount if before else None)
        if not statuses.is_same(status, before):
            with contextlib.suppress(errors.NotFound):
                await self._client.update(replace(daemon_set, status=status), subresource="status")
        if failure is not None and not batches.is_namespace_going(failure):
            raise failure
        return loop.Result(requeue_after_s=self._again_s(observed))

    def requests_of_node(self, old: core_v1.Node | None, new: core_v1.Node | None) -> Iterable[loop.Request]:
        """Name all DaemonSets when a node came or went, or its labels or taints changed."""
        if old is not None and new is not None and _placement(old) == _placement(new):
            return ()
        return [loop.Request(*informer.key_of(one)) for one in self._daemon_sets.list()]

    async def _revision(self, daemon_set: apps_v1.DaemonSet) -> apps_v1.ControllerRevision | None:
        assert daemon_set.metadata and daemon_set.spec
        status = daemon_set.status
        collisions = (status.collisionCount or 0) if status else 0
        wanted = history.plan(daemon_set, self._revisions_of(daemon_set), collisions, HASH)
        try:
            return await history.realize(self._client, wanted)
        except errors.AlreadyExists:
            fresh = replace(status or apps_v1.DaemonSetStatus(0, 0, 0, 0), collisionCount=collisions + 1)
            await self._client.update(replace(daemon_set, status=fresh), subresource="status")
            return None

    def _revisions_of(self, daemon_set: apps_v1.DaemonSet) -> list[apps_v1.ControllerRevision]:
        return self._revisions.by_index(owners.INDEX, (daemon_set.metadata.uid or "") if daemon_set.metadata else "")

    async def _observe(self, daemon_set: apps_v1.DaemonSet, digest: str) -> Observed:
        assert daemon_set.metadata
        uid = daemon_set.metadata.uid or ""
        controlled = await self.pods.claim(daemon_set)
        by_node: dict[str, list[core_v1.Pod]] = {}
        for pod in controlled:
            by_node.setdefault(target_node(pod), []).append(pod)
        now_s = self._clock.monotonic_s()
        held = {node for node in by_node if self._held_until_s.get((uid, node), 0.0) > now_s}
        return Observed(daemon_set, self._nodes.list(), by_node, digest, self._clock.now(), frozenset(held))

    async def _act(self, daemon_set: apps_v1.DaemonSet, planned: Plan, digest: str) -> errors.StatusError | None:
        for pod in planned.failed:
            namespace, name = informer.key_of(pod)
            text = f"Found failed daemon pod {namespace}/{name} on node {target_node(pod)}, will try to kill it"
            self._recorder.warning(daemon_set, "FailedDaemonPod", text)
            self._note_failure(daemon_set, target_node(pod))
        return await self.pods.change(
            daemon_set,
            create=planned.create[:BURST],
            delete=planned.delete[:BURST],
            make=lambda node: pod_for(daemon_set, node, digest),
        )

    def _note_failure(self, daemon_set: apps_v1.DaemonSet, node: str) -> None:
        key = ((daemon_set.metadata.uid or "") if daemon_set.metadata else "", node)
        now_s = self._clock.monotonic_s()
        if now_s - self._held_until_s.get(key, 0.0) > FAILURES.limit_s:  # long since the last one
            self._failures.forget(key)
        self._held_until_s[key] = now_s + self._failures.next_delay_s(key)

    async def _prune(
        self, daemon_set: apps_v1.DaemonSet, revision: apps_v1.ControllerRevision, observed: Observed
    ) -> None:
        assert daemon_set.spec
        hashes = {_labels(pod).get(HASH) for pods in observed.pods.values() for pod in pods}
        known = self._revisions_of(daemon_set)
        live = {informer.key_of(one)[1] for one in known if history.hash_of(one, HASH) in hashes}
        live.add(informer.key_of(revision)[1])
        for one in history.surplus(known, live, daemon_set.spec.revisionHistoryLimit):
            namespace, name = informer.key_of(one)
            with contextlib.suppress(errors.NotFound):
                await self._client.delete(apps_v1.ControllerRevision, name, namespace=namespace)

    def _again_s(self, observed: Observed) -> float | None:
        assert observed.daemon_set.spec
        everyone = [pod for pods in observed.pods.values() for pod in pods]
        waits = [podinfo.seconds_until_available(everyone, observed.daemon_set.spec.minReadySeconds or 0, observed.now)]
        uid = observed.daemon_set.metadata.uid if observed.daemon_set.metadata else None
        now_s = self._clock.monotonic_s()
        waits += [self._held_until_s[uid or "", node] - now_s + 0.1 for node in observed.held]
        return min((one for one in waits if one is not None), default=None)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("daemonset", reconciler, context, workers=2)
    controller.watch_changes(apps_v1.DaemonSet, reconciler.pods.requests_of_owner)
    controller.watch_changes(core_v1.Pod, reconciler.pods.requests_of)
    controller.watch_changes(core_v1.Node, reconciler.requests_of_node)
    controller.watch(apps_v1.ControllerRevision, _request_of_revision)
    return controller


def _manage(observed: Observed) -> Plan:
    daemon_set = observed.daemon_set
    assert daemon_set.spec and daemon_set.spec.template and daemon_set.spec.template.spec
    create: list[str] = []
    delete: list[core_v1.Pod] = []
    failed: list[core_v1.Pod] = []
    surges = _surge(observed) > 0
    known = set()
    for node in observed.nodes:
        name = informer.key_of(node)[1]
        known.add(name)
        starts, stays = should_run(daemon_set.spec.template.spec, node)
        pods = observed.pods.get(name, ())
        if starts and not pods:
            create.append(name)
        if pods and not stays:
            delete += pods
        elif pods:
            finished = [pod for pod in pods if podinfo.phase(pod) in {"Failed", "Succeeded"}]
            if name in observed.held:
                continue
            failed += [pod for pod in finished if not _is_going(pod) and podinfo.phase(pod) == "Failed"]
            delete += [pod for pod in finished if not _is_going(pod)]
            delete += _duplicates(observed, [pod for pod in pods if pod not in finished], surges=surges)
    # Of nodes that are gone: those that no agent holds any more; pod garbage collection takes the rest.
    delete += [pod for name, pods in observed.pods.items() if name not in known for pod in pods if not _assigned(pod)]
    return Plan(create, [pod for pod in delete if not _is_going(pod)], failed)


def _duplicates(observed: Observed, pods: Sequence[core_v1.Pod], *, surges: bool) -> list[core_v1.Pod]:
    """Return the pods of a node that are too many: all but the oldest, or but the oldest old and oldest new one with a surge."""
    standing = sorted((pod for pod in pods if not _is_going(pod)), key=_created)
    if not surges:
        return standing[1:]
    new = [pod for pod in standing if _is_updated(observed, pod)]
    old = [pod for pod in standing if not _is_updated(observed, pod)]
    if old and new and podinfo.is_available(new[0], _min_ready_s(observed), observed.now):
        return [*old, *new[1:]]
    return [*old[1:], *new[1:]]


def _roll(observed: Observed) -> Plan:
    daemon_set = observed.daemon_set
    assert daemon_set.spec and daemon_set.spec.template and daemon_set.spec.template.spec
    spec = daemon_set.spec.template.spec
    running = [node for node in observed.nodes if should_run(spec, node)[0]]
    surge = _surge(observed)
    if surge:
        return _roll_with_surge(observed, running, surge)
    allowed = _unavailable(observed, len(running))
    unavailable = 0
    hopeless: list[core_v1.Pod] = []
    candidates: list[core_v1.Pod] = []
    for node in running:
        pods = observed.pods.get(informer.key_of(node)[1], ())
        current = next((pod for pod in pods if not _is_going(pod)), None)
        is_available = current is not None and podinfo.is_available(current, _min_ready_s(observed), observed.now)
        unavailable += not is_available
        if current is None or _is_updated(observed, current):
            continue
        (candidates if is_available else hopeless).append(current)
    return Plan(delete=[*hopeless, *candidates[: max(0, allowed - unavailable)]])


def _roll_with_surge(observed: Observed, running: Sequence[core_v1.Node], surge: int) -> Plan:
    surging = 0
    now: list[str] = []
    later: list[str] = []
    for node in running:
        name = informer.key_of(node)[1]
        pods = [pod for pod in observed.pods.get(name, ()) if not _is_going(pod)]
        old = [pod for pod in pods if not _is_updated(observed, pod)]
        new = [pod for pod in pods if _is_updated(observed, pod)]
        if not old:
            continue
        if new:
            surging += 1
            continue
        is_available = podinfo.is_available(old[0], _min_ready_s(observed), observed.now)
        (later if is_available else now).append(name)
    return Plan(create=[*now, *later[: max(0, surge - surging)]])


def _strategy(daemon_set: apps_v1.DaemonSet) -> str:
    assert daemon_set.spec
    strategy = daemon_set.spec.updateStrategy
    return str((strategy.type if strategy else None) or "RollingUpdate")


def _surge(observed: Observed) -> int:
    rolling = _rolling(observed)
    total = len(observed.nodes)
    return intstr.scale(rolling.maxSurge or 0, total, round_up=True) if rolling else 0


def _unavailable(observed: Observed, total: int) -> int:
    rolling = _rolling(observed)
    value = 1 if rolling is None or rolling.maxUnavailable is None else rolling.maxUnavailable
    return intstr.scale(value, total, round_up=True)


def _rolling(observed: Observed) -> apps_v1.RollingUpdateDaemonSet | None:
    assert observed.daemon_set.spec
    strategy = observed.daemon_set.spec.updateStrategy
    return strategy.rollingUpdate if strategy else None


def _min_ready_s(observed: Observed) -> int:
    assert observed.daemon_set.spec
    return observed.daemon_set.spec.minReadySeconds or 0


def _is_updated(observed: Observed, pod: core_v1.Pod) -> bool:
    return _labels(pod).get(HASH) == observed.digest


def _is_going(pod: core_v1.Pod) -> bool:
    return pod.metadata is not None and pod.metadata.deletionTimestamp is not None


def _assigned(pod: core_v1.Pod) -> bool:
    return bool(pod.spec and pod.spec.nodeName)


def _labels(pod: core_v1.Pod) -> Mapping[str, str]:
    return (pod.metadata.labels or {}) if pod.metadata else {}


def _created(pod: core_v1.Pod) -> str:
    created = pod.metadata.creationTimestamp if pod.metadata else None
    return created.isoformat() if created else "~"


def _placement(node: core_v1.Node) -> tuple[object, ...]:
    return (node.metadata.labels if node.metadata else None, node.spec.taints if node.spec else None)


def _request_of_revision(revision: apps_v1.ControllerRevision) -> Iterable[loop.Request]:
    reference = owners.controller_of(revision)
    if reference is None or reference.kind != "DaemonSet":
        return ()
    return (loop.Request(informer.key_of(revision)[0], reference.name),)


def _selector_of(daemon_set: apps_v1.DaemonSet) -> meta_v1.LabelSelector | None:
    return daemon_set.spec.selector if daemon_set.spec else None
