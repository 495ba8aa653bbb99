"""What happens to the cluster: random acts of users, operators and fate, all drawn from one seed."""

import logging
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec

from knarr.api import errors
from knarr.node.simulated.script import PREFIX
from tests.simulation.cluster import Cluster
from tests.simulation.observer import Observer

Object = dict[str, Any]
NAMESPACES = ("default", "limited")
MIN_NODES, MAX_NODES = 4, 9
MAX_LOST = 3
"""Most pods that belong to nobody."""
EVICTED_S = 420.0
"""The pods of a node that falls silent are evicted by then: 50 s until it is noticed, 300 s that pods tolerate, and some."""
DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS = "deployments.apps", "statefulsets.apps", "daemonsets.apps"
JOBS, SERVICES, BUDGETS = "jobs.batch", "services", "poddisruptionbudgets.policy"
CRON_JOBS = "cronjobs.batch"
LIMITS = {DEPLOYMENTS: 6, STATEFUL_SETS: 3, DAEMON_SETS: 2, JOBS: 5, CRON_JOBS: 1, SERVICES: 4, BUDGETS: 4}
TAINT = "example.com/maintenance"
"""Most objects of a kind; also the kinds that are created and deleted."""
PREFIXES = {
    "": "/api/v1", "apps": "/apis/apps/v1", "batch": "/apis/batch/v1", "policy": "/apis/policy/v1",
}  # fmt: skip

logger = logging.getLogger(__name__)


class World:
    """Acts upon a cluster.

    Args:
        cluster: Which.
        observer: Told what must hold while it runs.
        random: Where all chance comes from.
    """

    def __init__(self, cluster: Cluster, observer: Observer, random: Random) -> None:
        self._cluster = cluster
        self._observer = observer
        self._random = random
        self._made = 0
        self.history: list[str] = []
        self.acts: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (6, self.create_deployment),
            (3, self.create_stateful_set),
            (2, self.create_daemon_set),
            (4, self.create_job),
            (1, self.create_cron_job),
            (3, self.change_job),
            (3, self.create_service),
            (3, self.create_budget),
            (8, self.scale),
            (7, self.change_template),
            (5, self.delete_workload),
            (6, self.delete_pod),
            (8, self.evict_pod),
            (2, self.relabel_pod),
            (3, self.fail_node),
            (4, self.recover_node),
            (2, self.add_node),
            (2, self.remove_node),
            (3, self.cordon),
            (3, self.uncordon),
            (2, self.drain),
            (3, self.taint),
            (3, self.untaint),
            (2, self.restart_controllers),
            (2, self.restart_scheduler),
        )

    async def prepare(self) -> None:
        """Make the namespace with a quota."""
        await self.post("/api/v1/namespaces", {"metadata": {"name": "limited"}})
        quota = {
            "metadata": {"name": "q"},
            "spec": {"hard": {"pods": "30", "requests.cpu": "20", "count/jobs.batch": "4"}},
        }
        await self._cluster.until(lambda: self.get("/api/v1/namespaces/limited/serviceaccounts/default"))
        await self.post("/api/v1/namespaces/limited/resourcequotas", quota)
        await self._cluster.pass_time(1)

    async def act(self) -> None:
        """Do one thing, and let some time pass."""
        weights, acts = zip(*self.acts, strict=True)
        act = self._random.choices(acts, weights)[0]
        try:
            await act()
        except errors.StatusError as err:
            self.history.append(f"  refused: {err}")
        await self._cluster.pass_time(self._random.choice((0, 0, 0.1, 0.5, 1, 3, 10, 30)))

    async def calm(self) -> None:
        """Undo what keeps the cluster from coming to rest."""
        await self._wait_evicted()
        for name, node in [*self._cluster.simulation.nodes.items()]:
            if node.is_silent:
                self._cluster.simulation.recover(name)
        for node in await self.nodes():
            await self._mark(node, unschedulable=False)
            while True:  # whoever else changes taints right now comes first
                try:
                    await self._set_taint(await self.get(f"/api/v1/nodes/{name_of(node)}"), "")
                    break
                except errors.Conflict:
                    await self._cluster.pass_time(0.1)
        for job in await self.items(JOBS):
            if (job["spec"].get("suspend") or not job["spec"]["parallelism"]) and not is_ending(job):
                await self._patch(job, {"spec": {"suspend": False, "parallelism": 2}})
        for job in await self.items(CRON_JOBS):
            await self._patch(job, {"spec": {"suspend": True}})
        self.history.append("calm")

    async def _wait_evicted(self) -> None:
        """Wait until the pods of nodes that have failed are on their way out, all but those of DaemonSets."""
        silent = {name for name, node in self._cluster.simulation.nodes.items() if node.is_silent}
        if silent:
            await self._cluster.pass_time(EVICTED_S, step_s=5.0)
        for pod in await self.items("pods"):
            owners = [owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())]
            if pod["spec"].get("nodeName") in silent and "DaemonSet" not in owners and not is_over(pod):
                self._observer.note(f"pod {name_of(pod)} stays on node {pod['spec']['nodeName']}, which has failed")

    # Workloads.

    async def create_deployment(self) -> None:
        random = self._random
        strategy: Object = {"type": "Recreate"}
        if random.random() < 0.8:
            surge, unavailable = random.choice(((1, 0), (0, 1), ("25%", "25%"), (2, 1), ("100%", "50%")))
            strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}}
        kind = random.random()
        host_port, apart = kind < 0.15, 0.15 <= kind < 0.3
        spec = {
            "replicas": random.randint(0, 2 if host_port or apart else 6),
            "strategy": strategy,
            "minReadySeconds": random.choice((0, 0, 2)),
        }
        template = self._template(host_port=host_port)
        if apart:  # all pods of a template are made apart once they have its labels
            template["spec"]["affinity"] = {"podAntiAffinity": {}}
        await self._create(DEPLOYMENTS, spec, template)

    async def create_stateful_set(self) -> None:
        random = self._random
        spec = {
            "replicas": random.randint(0, 4),
            "serviceName": "none",
            "podManagementPolicy": random.choice(("OrderedReady", "Parallel")),
        }
        await self._create(STATEFUL_SETS, spec, self._template())

    async def create_daemon_set(self) -> None:
        template = self._template()
        if self._random.random() < 0.5:
            template["spec"]["nodeSelector"] = {"topology.kubernetes.io/zone": "zone-1"}
        await self._create(DAEMON_SETS, {}, template)

    async def create_job(self) -> None:
        spec, template = self._job()
        await self._create(JOBS, spec, template)

    async def create_cron_job(self) -> None:
        spec, template = self._job()
        policy = self._random.choice(("Allow", "Forbid", "Replace"))
        body = {"jobTemplate": {"spec": {**spec, "template": template}}}
        await self._create(CRON_JOBS, {"schedule": "* * * * *", "concurrencyPolicy": policy, **body}, None)

    async def change_job(self) -> None:
        """Suspend, resume, widen or narrow a Job."""
        target = await self._choose(JOBS)
        if target is not None:
            change: Object = {"parallelism": self._random.randint(0, 4)}
            if self._random.random() < 0.5:
                change = {"suspend": not target["spec"].get("suspend")}
            await self._patch(target, {"spec": change})

    def _job(self) -> tuple[Object, Object]:
        random = self._random
        template = self._template()
        said = template["metadata"]["annotations"]
        said |= {
            f"{PREFIX}exit": random.choice(("1s", "5s", "1s..20s")),
            f"{PREFIX}code": random.choice(("0", "0", "0", "1")),
        }
        said.pop(f"{PREFIX}runs", None)
        template["spec"]["restartPolicy"] = random.choice(("Never", "OnFailure"))
        parallelism = random.randint(1, 3)
        spec: Object = {"parallelism": parallelism, "backoffLimit": random.randint(0, 3)}
        if random.random() < 0.8:
            spec["completions"] = random.randint(1, 5)
            spec["completionMode"] = random.choice(("NonIndexed", "Indexed"))
        if spec.get("completionMode") == "Indexed" and template["spec"]["restartPolicy"] == "Never":
            if random.random() < 0.3:
                spec |= {"backoffLimitPerIndex": random.randint(0, 2), "maxFailedIndexes": random.randint(0, 3)}
                del spec["backoffLimit"]
            if random.random() < 0.3:
                spec["successPolicy"] = {"rules": [{"succeededCount": random.randint(1, spec["completions"])}]}
        if random.random() < 0.3:
            spec["podReplacementPolicy"] = "Failed"
        return spec, template

    async def create_service(self) -> None:
        target = await self._choose(DEPLOYMENTS, STATEFUL_SETS)
        spec = {"selector": {"app": name_of(target)}, "ports": [{"port": 80}]} if target else None
        if target and spec:
            await self._create(SERVICES, spec, None, namespace=namespace_of(target))

    async def create_budget(self) -> None:
        target = await self._choose(DEPLOYMENTS, STATEFUL_SETS)
        if target is None:
            return
        known = await self.items(BUDGETS, namespace_of(target))
        if any(one["spec"]["selector"]["matchLabels"] == {"app": name_of(target)} for one in known):
            return  # a pod below two budgets cannot be evicted
        bound = self._random.choice(
            ({"minAvailable": 1}, {"minAvailable": "50%"}, {"maxUnavailable": 1}, {"maxUnavailable": 0})
        )
        policy = self._random.choice(("IfHealthyBudget", "AlwaysAllow"))
        spec = {"selector": {"matchLabels": {"app": name_of(target)}}, "unhealthyPodEvictionPolicy": policy, **bound}
        await self._create(BUDGETS, spec, None, namespace=namespace_of(target))

    async def scale(self) -> None:
        target = await self._choose(DEPLOYMENTS, STATEFUL_SETS)
        if target is not None:
            pod = target["spec"]["template"]["spec"]
            few = "ports" in pod["containers"][0] or "affinity" in pod
            await self._patch(target, {"spec": {"replicas": self._random.randint(0, 2 if few else 7)}})

    async def change_template(self) -> None:
        target = await self._choose(DEPLOYMENTS, STATEFUL_SETS, DAEMON_SETS)
        if target is not None:
            annotations = {"version": str(self._random.randint(1, 3))}
            await self._patch(target, {"spec": {"template": {"metadata": {"annotations": annotations}}}})

    async def delete_workload(self) -> None:
        target = await self._choose(*LIMITS)
        if target is not None:
            policy = self._random.choice(("Background", "Background", "Foreground"))
            await self._delete(target, {"propagationPolicy": policy})

    # Pods.

    async def delete_pod(self) -> None:
        pod = await self._choose_pod()
        if pod is not None:
            grace = self._random.choice((None, None, 0, 1))
            await self._delete(pod, {} if grace is None else {"gracePeriodSeconds": grace})

    async def evict_pod(self) -> None:
        pod = await self._choose_pod()
        if pod is not None:
            await self._cluster.pass_time(0.5)  # let budgets hear what was
            await self._evict(pod)

    async def relabel_pod(self) -> None:
        """Take a pod away from its ReplicaSet, which makes another."""
        pods = [pod for pod in await self.items("pods") if not is_ending(pod)]
        owned = [
            pod for pod in pods if any(o["kind"] == "ReplicaSet" for o in pod["metadata"].get("ownerReferences", ()))
        ]
        if owned and sum(not pod["metadata"].get("ownerReferences") for pod in pods) < MAX_LOST:
            await self._patch(self._random.choice(owned), {"metadata": {"labels": {"app": "lost"}}})

    async def _evict(self, pod: Object) -> None:
        path = f"{self.path_of(pod)}/eviction"
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name_of(pod), "namespace": namespace_of(pod)},
        }
        before = self._observer.budgets_of(pod)
        answer = await self.post(path, body)
        self._note("evicted", pod)
        assert answer is not None
        self._observer.check_eviction(pod, before)

    # Nodes.

    async def fail_node(self) -> None:
        name = await self._choose_node(lambda node: not self._is_silent(node))
        silent = sum(node.is_silent for node in self._cluster.simulation.nodes.values())
        if name and silent < 2:
            self.history.append(f"{name} fails")
            self._cluster.simulation.fail(name)

    async def recover_node(self) -> None:
        name = await self._choose_node(self._is_silent)
        if name:
            self.history.append(f"{name} recovers")
            self._cluster.simulation.recover(name)

    async def add_node(self) -> None:
        if len(self._cluster.simulation.nodes) < MAX_NODES:
            self._made += 1
            self.history.append(f"node more-{self._made} comes")
            await self._cluster.simulation.add(f"more-{self._made}")

    async def remove_node(self) -> None:
        name = await self._choose_node(lambda _node: True)
        if name and len(self._cluster.simulation.nodes) > MIN_NODES:
            self.history.append(f"node {name} goes")
            await self._send("DELETE", f"/api/v1/nodes/{name}")

    async def cordon(self) -> None:
        name = await self._choose_node(lambda node: not node["spec"].get("unschedulable"))
        if name:
            await self._mark(await self.get(f"/api/v1/nodes/{name}"), unschedulable=True)

    async def uncordon(self) -> None:
        name = await self._choose_node(lambda node: bool(node["spec"].get("unschedulable")))
        if name:
            await self._mark(await self.get(f"/api/v1/nodes/{name}"), unschedulable=False)

    async def drain(self) -> None:
        name = await self._choose_node(lambda node: not self._is_silent(node))
        if not name:
            return
        await self._mark(await self.get(f"/api/v1/nodes/{name}"), unschedulable=True)
        for pod in await self.items("pods"):
            owners = [owner["kind"] for owner in pod["metadata"].get("ownerReferences", ())]
            if pod["spec"].get("nodeName") == name and "DaemonSet" not in owners and not is_ending(pod):
                await self._cluster.pass_time(0.5)
                try:
                    await self._evict(pod)
                except errors.StatusError as err:
                    self.history.append(f"  refused: {err}")

    async def taint(self) -> None:
        name = await self._choose_node(lambda node: not self._is_silent(node))
        if name:
            await self._set_taint(
                await self.get(f"/api/v1/nodes/{name}"), self._random.choice(("NoSchedule", "NoExecute"))
            )

    async def untaint(self) -> None:
        for node in await self.nodes():
            await self._set_taint(node, "")

    async def _set_taint(self, node: Object | None, effect: str) -> None:
        """Set our taint to an effect; empty takes it away."""
        if node is None:
            return
        others = [one for one in node["spec"].get("taints") or () if one["key"] != TAINT]
        wanted = [*others, *([{"key": TAINT, "effect": effect}] if effect else [])]
        if wanted != (node["spec"].get("taints") or []):
            self.history.append(f"{name_of(node)} tainted {effect}" if effect else f"{name_of(node)} untainted")
            body = {"metadata": {"resourceVersion": node["metadata"]["resourceVersion"]}, "spec": {"taints": wanted}}
            await self._patch(node, body, quiet=True)

    async def _mark(self, node: Object | None, *, unschedulable: bool) -> None:
        if node is not None and bool(node["spec"].get("unschedulable")) != unschedulable:
            self.history.append(f"{name_of(node)} {'cordoned' if unschedulable else 'uncordoned'}")
            await self._patch(node, {"spec": {"unschedulable": unschedulable or None}}, quiet=True)

    def _is_silent(self, node: Object) -> bool:
        found = self._cluster.simulation.nodes.get(name_of(node))
        return found is not None and found.is_silent

    # Components.

    async def restart_controllers(self) -> None:
        self.history.append("controllers restart")
        await self._cluster.restart("kube-controller-manager")

    async def restart_scheduler(self) -> None:
        self.history.append("scheduler restarts")
        await self._cluster.restart("kube-scheduler")

    # Access.

    async def items(self, plural: str, namespace: str = "") -> list[Object]:
        """List objects as dicts, in the order of their names."""
        return self._cluster.items(plural, namespace)

    async def nodes(self) -> list[Object]:
        """List nodes."""
        return await self.items("nodes")

    async def get(self, path: str) -> Object | None:
        """Read an object; None if there is none."""
        try:
            return await self._send("GET", path)
        except errors.NotFound:
            return None

    async def post(self, path: str, body: Object) -> Object | None:
        """Create an object."""
        return await self._send("POST", path, body)

    async def _send(
        self, method: str, path: str, body: Object | None = None, content_type: str = "application/json"
    ) -> Object:
        encoded = msgspec.json.encode(body) if body is not None else b""
        caller = self._cluster.client.caller
        # Once only: whoever waits here for a later attempt stops the clock.
        answer = await caller.send(method, path, body=encoded, content_type=content_type, attempts=1)
        decoded: Object = msgspec.json.decode(answer.body)
        return decoded

    async def _create(self, plural: str, spec: Object, template: Object | None, *, namespace: str = "") -> None:
        if len(await self.items(plural)) >= LIMITS[plural]:
            return
        self._made += 1
        name, namespace = f"{plural[:2]}{self._made}", namespace or self._random.choice(NAMESPACES)
        if template is not None:
            template["metadata"]["labels"] = {"app": name}
            if "affinity" in template["spec"]:
                selector = {"matchLabels": {"app": name}}
                term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": selector}
                required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
                template["spec"]["affinity"] = {"podAntiAffinity": required}
            spec = {**spec, "template": template}
            if plural != JOBS:
                spec["selector"] = {"matchLabels": {"app": name}}
        resource, _, group = plural.partition(".")
        self.history.append(f"{plural} {namespace}/{name} created: {msgspec.json.encode(spec).decode()}")
        await self.post(
            f"{PREFIXES[group]}/namespaces/{namespace}/{resource}", {"metadata": {"name": name}, "spec": spec}
        )

    def _template(self, *, host_port: bool = False) -> Object:
        random = self._random
        said = {"start": random.choice(("0", "1s", "0..3s")), "ready": random.choice(("0", "1s", "0..5s"))}
        said["stop"] = random.choice(("0", "1s", "0..10s"))
        if random.random() < 0.2:
            said |= {"exit": "2s..8s", "code": "1", "runs": "2"}
        container: Object = {
            "name": "c",
            "image": "web:1",
            "resources": {"requests": {"cpu": random.choice(("100m", "500m", "1")), "memory": "100Mi"}},
        }
        if host_port:
            container["ports"] = [{"containerPort": 80, "hostPort": random.choice((8080, 8081))}]
        annotations = {f"{PREFIX}{name}": value for name, value in said.items()}
        grace = random.choice((0, 5, 30))
        return {
            "metadata": {"annotations": annotations},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": grace},
        }

    async def _patch(self, obj: Object, body: Object, *, quiet: bool = False) -> None:
        if not quiet:
            self._note(f"patched {msgspec.json.encode(body).decode()}", obj)
        await self._send("PATCH", self.path_of(obj), body, "application/merge-patch+json")

    async def _delete(self, obj: Object, options: Object) -> None:
        self._note(f"deleted {options}", obj)
        await self._send("DELETE", self.path_of(obj), {"kind": "DeleteOptions", "apiVersion": "v1", **options})

    async def _choose(self, *plurals: str) -> Object | None:
        found = [obj for plural in plurals for obj in await self.items(plural) if not is_ending(obj)]
        found = [obj for obj in found if name_of(obj) != "kubernetes" and namespace_of(obj) in NAMESPACES]
        return self._random.choice(found) if found else None

    async def _choose_pod(self) -> Object | None:
        found = [pod for pod in await self.items("pods") if not is_ending(pod)]
        return self._random.choice(found) if found else None

    async def _choose_node(self, fits: Callable[[Object], bool]) -> str:
        known = self._cluster.simulation.nodes
        found = [name_of(node) for node in await self.nodes() if name_of(node) in known and fits(node)]
        return self._random.choice(found) if found else ""

    def _note(self, what: str, obj: Object) -> None:
        self.history.append(f"{obj.get('kind', 'Pod')} {namespace_of(obj)}/{name_of(obj)} {what}")

    def path_of(self, obj: Object) -> str:
        """Return an object's path."""
        group, namespace = obj.get("apiVersion", "v1").rpartition("/")[0], namespace_of(obj)
        place = f"/namespaces/{namespace}" if namespace else ""
        return f"{PREFIXES[group]}{place}/{obj['kind'].lower()}s/{name_of(obj)}"


def name_of(obj: Object) -> str:
    """Return an object's name."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Object) -> str:
    """Return an object's namespace."""
    return str(obj["metadata"].get("namespace", ""))


def is_over(pod: Object) -> bool:
    """Tell whether a pod is being deleted, or has ended."""
    return is_ending(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_ending(obj: Object) -> bool:
    """Tell whether an object is being deleted."""
    return bool(obj["metadata"].get("deletionTimestamp"))
