"""The vertical recommender: it watches what the containers of each workload use and proposes what they should request.

Bare clusters lack it; it runs only where it is asked for. It changes no workload: each proposal is a ConfigMap beside the workload, which
owns it, with the proposal in the words of a VerticalPodAutoscaler's status and what is needed to go on after a restart.

Upstream counterpart: k8s.io/autoscaler vertical-pod-autoscaler/pkg/recommender (v1.x).
"""

import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lightkube.models import apps_v1, batch_v1, core_v1, meta_v1

from knarr.api import amounts, errors
from knarr.client import Client
from knarr.control import Context, informer, owners
from knarr.controllers import containerusage, recommendation
from knarr.controllers.recommendation import Usage

LABEL = "recommendation.knarr.io/kind"
"""What all the ConfigMaps have; its value is the kind of the workload."""
PROPOSAL, USAGE = "recommendation.json", "usage.json"
PERIOD_S = 60.0
WRITE_S = 600.0
STALE_S = 8 * 86_400.0
"""Workloads without pods are forgotten after this long."""
OOM = "OOMKilled"

Owner = meta_v1.OwnerReference
Above = Callable[[str, Owner], Owner | None]
"""Gives the controller of what is controlled by an owner in a namespace; None if it has none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Workload:
    """Whose pods are looked at together."""

    namespace: str
    kind: str
    name: str
    uid: str
    api_version: str


class Observations:
    """What has been seen of all workloads.

    Attributes:
        usages: What is used, by workload and container.
        requests: What the newest pod requests, by workload and container.
    """

    def __init__(self) -> None:
        self.usages: dict[Workload, dict[str, Usage]] = {}
        self.requests: dict[Workload, dict[str, dict[str, str]]] = {}
        self._times: dict[tuple[str, str, str], str] = {}
        self._ooms: set[tuple[str, str, int]] = set()

    def take(
        self, samples: Iterable[containerusage.Sample], pods: Iterable[core_v1.Pod], above: Above, now_s: float
    ) -> None:
        """Take in what containers use now; a figure that was taken in before does not count again."""
        known = {informer.key_of(pod): pod for pod in pods}
        found = {key: workload_of(pod, above) for key, pod in known.items()}
        times: dict[tuple[str, str, str], str] = {}
        for one in samples:
            workload = found.get((one.namespace, one.pod))
            if workload is None:
                continue
            place = (one.namespace, one.pod, one.container)
            times[place] = one.at
            if self._times.get(place) != one.at:
                self._usage(workload, one.container).see(one.pod, one.cores, one.memory_bytes, now_s)
        self._times = times
        for key, pod in known.items():
            if (workload := found[key]) is not None:
                self._note_pod(workload, pod, now_s)
        self._forget(known, now_s)

    def restore(self, workload: Workload, kept: Mapping[str, Any]) -> None:
        """Go on with what was kept of a workload."""
        self.usages[workload] = {name: Usage.from_json(one) for name, one in kept.items()}

    def proposal(self, workload: Workload, now: datetime) -> dict[str, Any]:
        """Return what is proposed for a workload."""
        containers = []
        for one in recommendation.recommend(self.usages[workload]):
            requests = self.requests.get(workload, {}).get(one.container)
            containers.append({**one.to_json(), **({"requests": requests} if requests else {})})
        return {
            "kind": workload.kind, "namespace": workload.namespace, "name": workload.name,
            "updated": now.replace(microsecond=0).isoformat().replace("+00:00", "Z"),
            "containerRecommendations": containers,
        }  # fmt: skip

    def _note_pod(self, workload: Workload, pod: core_v1.Pod, now_s: float) -> None:
        assert pod.spec
        for container in pod.spec.containers:
            asked = dict((container.resources.requests or {}) if container.resources else {})
            told = {name: str(value) for name, value in asked.items() if name in {"cpu", "memory"}}
            self.requests.setdefault(workload, {})[container.name] = told
        for status in (pod.status.containerStatuses or ()) if pod.status else ():
            ended = [one.terminated for one in (status.state, status.lastState) if one and one.terminated]
            place = (pod.metadata.uid or "" if pod.metadata else "", status.name, status.restartCount)
            if place not in self._ooms and any(one.reason == OOM for one in ended):
                self._ooms.add(place)
                limit = self.requests[workload].get(status.name, {}).get("memory", "0")
                name = informer.key_of(pod)[1]
                self._usage(workload, status.name).see_oom(name, amounts.nanos(limit) / amounts.NANOS, now_s)

    def _usage(self, workload: Workload, container: str) -> Usage:
        return self.usages.setdefault(workload, {}).setdefault(container, Usage())

    def _forget(self, pods: Mapping[tuple[str, str], core_v1.Pod], now_s: float) -> None:
        alive = {pod.metadata.uid for pod in pods.values() if pod.metadata}
        self._ooms = {place for place in self._ooms if place[0] in alive}
        names: dict[str, set[str]] = {}
        for namespace, name in pods:
            names.setdefault(namespace, set()).add(name)
        for workload, usages in [*self.usages.items()]:
            for container, usage in [*usages.items()]:
                usage.forget_pods(names.get(workload.namespace, set()))
                if now_s - usage.last_s > STALE_S:
                    del usages[container]
            if not usages:
                del self.usages[workload]
                self.requests.pop(workload, None)


def workload_of(pod: core_v1.Pod, above: Above) -> Workload | None:
    """Return the workload that a pod belongs to: the topmost controller; None if it has none or is its node's own."""
    namespace = informer.key_of(pod)[0]
    owner = owners.controller_of(pod)
    if owner is None or owner.kind == "Node":
        return None
    while (higher := above(namespace, owner)) is not None:
        owner = higher
    return Workload(namespace, owner.kind, owner.name, owner.uid, owner.apiVersion)


def above_of(
    replica_sets: Callable[[str, str], apps_v1.ReplicaSet | None], jobs: Callable[[str, str], batch_v1.Job | None]
) -> Above:
    """Return what finds the controllers of ReplicaSets and Jobs."""
    known: Mapping[str, Callable[[str, str], Any]] = {"ReplicaSet": replica_sets, "Job": jobs}

    def above(namespace: str, owner: Owner) -> Owner | None:
        look_up = known.get(owner.kind)
        found = look_up(namespace, owner.name) if look_up is not None else None
        return owners.controller_of(found) if found is not None and found.metadata.uid == owner.uid else None

    return above


def name_of(workload: Workload) -> str:
    """Return the name of a workload's ConfigMap."""
    return f"recommendation-{workload.kind.lower()}-{workload.name}"[:253]


async def proposals(client: Client, namespace: str = "") -> list[dict[str, Any]]:
    """Return the proposals that a recommender has written; `namespace` empty means all."""
    found = (await client.list(core_v1.ConfigMap, namespace=namespace, labels=LABEL)).items
    return [json.loads((one.data or {})[PROPOSAL]) for one in found if PROPOSAL in (one.data or {})]


async def look(client: Client, observations: Observations, now_s: float) -> None:
    """Take one sample of the whole cluster without informers."""
    nodes = [informer.key_of(node)[1] for node in (await client.list(core_v1.Node)).items]
    pods = (await client.list(core_v1.Pod)).items
    sets = {informer.key_of(one): one for one in (await client.list(apps_v1.ReplicaSet)).items}
    jobs = {informer.key_of(one): one for one in (await client.list(batch_v1.Job)).items}
    above = above_of(lambda *key: sets.get(key), lambda *key: jobs.get(key))
    observations.take(await containerusage.read(client, nodes), pods, above, now_s)


class Recommender:
    """Looks once a minute and writes what it proposes now and then.

    Args:
        context: Client, informers and clock.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._informers = context.informers
        self._pods = context.informers.of(core_v1.Pod)
        self._nodes = context.informers.of(core_v1.Node)
        sets, jobs = context.informers.of(apps_v1.ReplicaSet), context.informers.of(batch_v1.Job)
        self._above = above_of(sets.get, jobs.get)
        self._observations = Observations()

    async def run(self) -> None:
        """Work until cancelled."""
        await self._informers.wait_synced()
        await self._restore()
        written_s = float("-inf")
        while True:
            now_s = self._clock.now().timestamp()
            try:
                nodes = [informer.key_of(node)[1] for node in self._nodes.list()]
                samples: Sequence[containerusage.Sample] = await containerusage.read(self._client, nodes)
            except errors.StatusError as err:
                logger.warning("nobody says what pods use: %s", err)
                samples = ()
            self._observations.take(samples, self._pods.list(), self._above, now_s)
            if now_s - written_s >= WRITE_S and samples:
                written_s = now_s
                await self._write()
            await self._clock.sleep(PERIOD_S)

    async def _restore(self) -> None:
        for one in (await self._client.list(core_v1.ConfigMap, labels=LABEL)).items:
            assert one.metadata
            owner = next(iter(one.metadata.ownerReferences or ()), None)
            if owner is None or USAGE not in (one.data or {}):
                continue
            workload = Workload(informer.key_of(one)[0], owner.kind, owner.name, owner.uid, owner.apiVersion)
            try:
                self._observations.restore(workload, json.loads((one.data or {})[USAGE]))
            except (ValueError, TypeError, AttributeError) as err:
                logger.warning("what was kept of %s/%s cannot be read: %s", workload.kind, workload.name, err)

    async def _write(self) -> None:
        for workload, usages in self._observations.usages.items():
            kept = {name: usage.to_json() for name, usage in usages.items()}
            meta = meta_v1.ObjectMeta(
                name=name_of(workload),
                namespace=workload.namespace,
                labels={LABEL: workload.kind},
                ownerReferences=[Owner(workload.api_version, workload.kind, workload.name, workload.uid)],
            )
            proposal = json.dumps(self._observations.proposal(workload, self._clock.now()))
            data = {PROPOSAL: proposal, USAGE: json.dumps(kept, separators=(",", ":"))}
            try:
                await self._client.apply(core_v1.ConfigMap(metadata=meta, data=data), field_manager="recommender")
            except errors.StatusError as err:  # a namespace that is going, a quota
                logger.info("the recommendation for %s/%s is not written: %s", workload.kind, workload.name, err)


def build(context: Context) -> Recommender:
    """Assemble the controller."""
    return Recommender(context)
