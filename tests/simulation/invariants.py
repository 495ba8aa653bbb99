"""What must hold once the cluster has come to rest. Each check yields sentences about what does not."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from knarr.api import amounts
from knarr.apiserver.registry import Registry
from tests.simulation.observer import TRACKING, Observer, desired, is_healthy, is_ready

Object = dict[str, Any]
TOLERATED_BY_DAEMONS = {
    "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/disk-pressure",
    "node.kubernetes.io/memory-pressure", "node.kubernetes.io/pid-pressure", "node.kubernetes.io/unschedulable",
}  # fmt: skip
OWNED = (
    "pods", "replicasets.apps", "controllerrevisions.apps", "endpointslices.discovery.k8s.io", "jobs.batch",
    "leases.coordination.k8s.io",
)  # fmt: skip
OWNERS = {
    "ReplicaSet": "replicasets.apps", "Deployment": "deployments.apps", "StatefulSet": "statefulsets.apps",
    "DaemonSet": "daemonsets.apps", "Job": "jobs.batch", "CronJob": "cronjobs.batch",
    "Service": "services", "Node": "nodes", "Endpoints": "endpoints",
}  # fmt: skip


class State:
    """Everything in the store at one moment."""

    def __init__(self, registry: Registry) -> None:
        self._kinds: dict[str, list[Object]] = {}
        self._registry = registry
        self.pods_by_owner: dict[str, list[Object]] = {}
        for pod in self.all("pods"):
            owner = controller_of(pod)
            if owner is not None:
                self.pods_by_owner.setdefault(owner["uid"], []).append(pod)

    def all(self, plural: str) -> list[Object]:
        """Return all objects of a kind."""
        if plural not in self._kinds:
            self._kinds[plural] = self._registry.list(plural)
        return self._kinds[plural]

    def pods_of(self, owner: Object) -> list[Object]:
        """Return the pods that an object controls."""
        return self.pods_by_owner.get(owner["metadata"]["uid"], [])


def violations(registry: Registry, observer: Observer) -> list[str]:
    """Return everything that does not hold."""
    state = State(registry)
    found = [text for check in CHECKS for text in check(state)]
    return [*found, *check_jobs(state, observer)]


def check_owners(state: State) -> Iterator[str]:
    """Nothing is left whose owner is gone, and nothing is on its way out for ever."""
    for plural in OWNED:
        for obj in state.all(plural):
            for owner in obj["metadata"].get("ownerReferences") or ():
                known = {one["metadata"]["uid"] for one in state.all(OWNERS[owner["kind"]])}
                if owner["uid"] not in known:
                    yield f"{plural} {key(obj)} is an orphan of {owner['kind']} {owner['name']}"
            if obj["metadata"].get("deletionTimestamp"):
                yield f"{plural} {key(obj)} is still being deleted: {obj['metadata'].get('finalizers')}"


def check_nodes(state: State) -> Iterator[str]:
    """Every node is Ready and bears no taint of its past."""
    for node in state.all("nodes"):
        if not is_ready(node):
            yield f"node {key(node)} is not Ready"
        for taint in node["spec"].get("taints") or ():
            yield f"node {key(node)} is tainted {taint['key']}:{taint['effect']}"


def check_placement(state: State) -> Iterator[str]:
    """Pods are on nodes that exist, fit and suffice; no two have one host port or one address; none waits that has a place."""
    nodes = {key(node): node for node in state.all("nodes")}
    active = [pod for pod in state.all("pods") if is_active(pod)]
    placed = [pod for pod in active if pod["spec"].get("nodeName")]
    for pod in placed:
        node = nodes.get(pod["spec"]["nodeName"])
        if node is None:
            yield f"pod {key(pod)} is on node {pod['spec']['nodeName']}, which does not exist"
        elif not fits_labels(pod, node):
            yield f"pod {key(pod)} is on node {key(node)}, which its selector excludes"
    for name, node in nodes.items():
        here = [pod for pod in placed if pod["spec"]["nodeName"] == name]
        for resource in ("cpu", "memory"):
            used = sum(requests(pod, resource) for pod in here)
            if used > amounts.nanos(node["status"]["allocatable"][resource]):
                yield f"node {name}: {resource} is requested beyond what there is"
        ports = Counter(port for pod in here for port in host_ports(pod))
        yield from (f"node {name}: host port {port} is taken {n} times" for port, n in ports.items() if n > 1)
    addresses = Counter(ip for pod in placed if (ip := pod["status"].get("podIP")))
    yield from (f"address {ip} belongs to {n} pods" for ip, n in addresses.items() if n > 1)
    for pod in active:
        if not pod["spec"].get("nodeName"):
            target = target_of(pod)
            places = [name for name, node in nodes.items() if target in ("", name) and has_place(pod, node, placed)]
            if places or not target:
                yield f"pod {key(pod)} waits: " + (f"though it fits on {places}" if places else "it fits nowhere")


def check_replica_sets(state: State) -> Iterator[str]:
    """A ReplicaSet has as many pods as it should, and counts them right."""
    for one in state.all("replicasets.apps"):
        pods = [pod for pod in state.pods_of(one) if is_active(pod)]
        wanted, status = one["spec"]["replicas"], one.get("status") or {}
        counts = (len(pods), sum(map(is_ready, pods)))
        told = (status.get("replicas", 0), status.get("readyReplicas", 0))
        if told != counts or (counts != (wanted, wanted) and not lacks_quota(state, one)):
            yield f"ReplicaSet {key(one)}: {wanted} wanted, {counts[0]} there, {counts[1]} ready, told {told}"


def check_deployments(state: State) -> Iterator[str]:
    """A Deployment's newest ReplicaSet has all of its replicas, the older ones none, and its status says so."""
    for one in state.all("deployments.apps"):
        owned = [
            rs for rs in state.all("replicasets.apps") if (controller_of(rs) or {}).get("uid") == one["metadata"]["uid"]
        ]
        full = [rs for rs in owned if rs["spec"]["replicas"]]
        wanted, status = one["spec"]["replicas"], one.get("status") or {}
        counts = tuple(sum((rs.get("status") or {}).get(f, 0) for rs in owned) for f in ("replicas", "readyReplicas"))
        if (status.get("replicas", 0), status.get("readyReplicas", 0)) != counts:
            yield f"Deployment {key(one)}: status says {status}, its ReplicaSets {counts}"
        if lacks_quota(state, one):
            pass  # a rollout goes no further then
        elif len(full) > 1 or sum(rs["spec"]["replicas"] for rs in full) != wanted:
            yield f"Deployment {key(one)}: {wanted} wanted, ReplicaSets have {[rs['spec']['replicas'] for rs in owned]}"
        current = [rs for rs in owned if same_template(rs, one)]
        if len(current) != 1 or (full and full != current and not lacks_quota(state, one)):
            yield f"Deployment {key(one)}: {len(current)} ReplicaSets have its template"
        told = tuple(status.get(f, 0) for f in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"))
        seen = status.get("observedGeneration") == one["metadata"]["generation"]
        if not seen or (told != (wanted,) * 4 and not lacks_quota(state, one)):
            yield f"Deployment {key(one)}: {wanted} wanted, status says {told}"


def check_stateful_sets(state: State) -> Iterator[str]:
    """A StatefulSet has exactly the pods 0 to n-1, all Ready and of its newest revision."""
    for one in state.all("statefulsets.apps"):
        wanted, status = one["spec"]["replicas"], one.get("status") or {}
        pods = state.pods_of(one)
        names = sorted(pod["metadata"]["name"] for pod in pods)
        told = (status.get("replicas", 0), status.get("readyReplicas", 0))
        if told != (len(pods), sum(map(is_ready, pods))):
            yield f"StatefulSet {key(one)}: status says {told}, has {len(pods)}"
        if lacks_quota(state, one):
            if {*names} - {f"{one['metadata']['name']}-{n}" for n in range(wanted)}:
                yield f"StatefulSet {key(one)}: {wanted} wanted, has {names}"
            continue
        if names != sorted(f"{one['metadata']['name']}-{n}" for n in range(wanted)):
            yield f"StatefulSet {key(one)}: {wanted} wanted, has {names}"
        revisions = {pod["metadata"]["labels"].get("controller-revision-hash") for pod in pods}
        if not all(map(is_ready, pods)) or revisions - {status.get("updateRevision")}:
            yield f"StatefulSet {key(one)}: pods of {revisions}, newest {status.get('updateRevision')}, not all ready or new"
        counts = tuple(status.get(f, 0) for f in ("replicas", "readyReplicas", "currentReplicas", "updatedReplicas"))
        if counts != (wanted,) * 4:
            yield f"StatefulSet {key(one)}: {wanted} wanted, status says {counts}"


def check_daemon_sets(state: State) -> Iterator[str]:
    """A DaemonSet has one pod on each node that fits, all Ready and new, and none elsewhere."""
    for one in state.all("daemonsets.apps"):
        template = one["spec"]["template"]
        wanted = Counter(key(node) for node in state.all("nodes") if fits_labels(template, node))
        pods = [pod for pod in state.pods_of(one) if is_active(pod)]
        there = Counter(pod["spec"].get("nodeName") or target_of(pod) for pod in pods)
        if lacks_quota(state, one) and not there - wanted:
            continue
        if there != wanted:
            yield f"DaemonSet {key(one)}: wanted on {sorted(wanted)}, is on {dict(there)}"
        status = one.get("status") or {}
        told = tuple(status.get(f, 0) for f in ("desiredNumberScheduled", "numberReady", "updatedNumberScheduled"))
        placed = sum(bool(pod["spec"].get("nodeName")) for pod in pods)  # the rest waits for room on its node
        if told != (len(wanted), placed, len(pods)) or status.get("numberMisscheduled"):
            yield f"DaemonSet {key(one)}: {len(wanted)} wanted, status says {told}"


def check_jobs(state: State, observer: Observer) -> Iterator[str]:
    """A Job is over, and its counts are exactly the pods that have succeeded and failed, each once."""
    for one in state.all("jobs.batch"):
        status, spec = one.get("status") or {}, one["spec"]
        over = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"} & {"Complete", "Failed"}
        if len(over) != 1 and not lacks_quota(state, one):
            yield f"Job {key(one)} is neither complete nor failed: {status.get('conditions')}"
        if any(is_active(pod) for pod in state.pods_of(one)) or status.get("active"):
            yield f"Job {key(one)} is over and has active pods"
        told = (status.get("succeeded", 0), status.get("failed", 0))
        enough = [rule["succeededCount"] for rule in (spec.get("successPolicy") or {}).get("rules") or ()]
        wanted = {*range(min(enough), spec["completions"] + 1)} if enough else {spec.get("completions", told[0])}
        if "Complete" in over and told[0] not in wanted:
            yield f"Job {key(one)} is complete with {told[0]} of {spec['completions']}"
        ends = observer.ends[one["metadata"]["uid"]]
        if told != (len(ends.succeeded), len(ends.failed)):
            yield f"Job {key(one)} says {told}, but its pods ended {len(ends.succeeded), len(ends.failed)}"
        indexes = {str(n) for n in parse_indexes(status.get("completedIndexes", ""))}
        if spec.get("completionMode") == "Indexed" and indexes != ends.succeeded:
            yield f"Job {key(one)} says that {indexes} are complete, but {ends.succeeded} are"
        if ends.noted["failed"] != ends.failed or status.get("uncountedTerminatedPods"):
            yield f"Job {key(one)} has noted pods that it has not counted: {status.get('uncountedTerminatedPods')}"
        left = [key(pod) for pod in state.pods_of(one) if TRACKING in (pod["metadata"].get("finalizers") or ())]
        if left:
            yield f"Job {key(one)} has not let go of {left}"


def check_cron_jobs(state: State) -> Iterator[str]:
    """A CronJob that is suspended has no Job that runs, and keeps no more than it should."""
    for one in state.all("cronjobs.batch"):
        jobs = [
            job for job in state.all("jobs.batch") if (controller_of(job) or {}).get("uid") == one["metadata"]["uid"]
        ]
        if (one.get("status") or {}).get("active"):
            yield f"CronJob {key(one)} is suspended and says that Jobs run: {one['status']['active']}"
        for kind, limit in (("Complete", 3), ("Failed", 1)):
            ended = [job for job in jobs if has_condition(job, kind)]
            if len(ended) > limit:
                yield f"CronJob {key(one)} keeps {len(ended)} Jobs that are {kind}"


def check_apart(state: State) -> Iterator[str]:
    """Pods that want to be apart are."""
    places: Counter[tuple[str, str, str]] = Counter()
    for pod in state.all("pods"):
        if is_active(pod) and pod["spec"].get("nodeName") and wants_apart(pod):
            meta = pod["metadata"]
            places[meta["namespace"], meta["labels"]["app"], pod["spec"]["nodeName"]] += 1
    yield from (f"{n} pods of {app} are on {node}" for (_, app, node), n in places.items() if n > 1 and app != "lost")


def check_endpoints(state: State) -> Iterator[str]:
    """The endpoints of a Service are the ready pods that it selects."""
    for service in state.all("services"):
        selector = service["spec"].get("selector")
        if not selector:
            continue
        namespace = service["metadata"]["namespace"]
        pods = [pod for pod in state.all("pods") if pod["metadata"]["namespace"] == namespace and is_active(pod)]
        wanted = sorted(pod["status"]["podIP"] for pod in pods if is_healthy(pod, selector))
        slices = [
            one for one in state.all("endpointslices.discovery.k8s.io")
            if one["metadata"]["namespace"] == namespace
            and one["metadata"]["labels"].get("kubernetes.io/service-name") == service["metadata"]["name"]
            and one["metadata"]["labels"].get("endpointslice.kubernetes.io/managed-by") == "endpointslice-controller.k8s.io"
        ]  # fmt: skip
        told = sorted(
            ip
            for one in slices
            for end in one.get("endpoints") or ()
            if end["conditions"]["ready"]
            for ip in end["addresses"]
        )
        if told != wanted:
            yield f"EndpointSlices of {key(service)} have {told}, ready are {wanted}"
        classic = [one for one in state.all("endpoints") if key(one) == key(service)]
        told = sorted(a["ip"] for one in classic for s in one.get("subsets") or () for a in s.get("addresses") or ())
        if told != wanted:
            yield f"Endpoints of {key(service)} have {told}, ready are {wanted}"


def check_budgets(state: State) -> Iterator[str]:
    """A PodDisruptionBudget counts the healthy pods right and allows what is left."""
    for one in state.all("poddisruptionbudgets.policy"):
        namespace, labels = one["metadata"]["namespace"], one["spec"]["selector"]["matchLabels"]
        owners = [
            owner for plural in ("deployments.apps", "statefulsets.apps") for owner in state.all(plural)
            if key(owner) == f"{namespace}/{labels['app']}"
        ]  # fmt: skip
        expected = owners[0]["spec"]["replicas"] if owners else 0
        pods = [pod for pod in state.all("pods") if pod["metadata"]["namespace"] == namespace]
        healthy, status = sum(is_healthy(pod, labels) for pod in pods), one.get("status") or {}
        wanted = desired(one["spec"], expected)
        # A budget that counts minAvailable pods expects as many as there are.
        told = (status.get("currentHealthy"), status.get("desiredHealthy"), status.get("disruptionsAllowed"))
        allowed = max(0, healthy - wanted) if expected else 0
        if told != (healthy, wanted, allowed):
            yield f"budget {key(one)}: status says {told}, expected {(healthy, wanted, allowed)}"


def check_quotas(state: State) -> Iterator[str]:
    """A quota says what is used, and no more is used than it allows."""
    for quota in state.all("resourcequotas"):
        namespace = quota["metadata"]["namespace"]
        pods = [
            pod for pod in state.all("pods")
            if pod["metadata"]["namespace"] == namespace and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")
        ]  # fmt: skip
        jobs = [job for job in state.all("jobs.batch") if job["metadata"]["namespace"] == namespace]
        used = {
            "pods": len(pods) * amounts.NANOS,
            "requests.cpu": sum(requests(pod, "cpu") for pod in pods),
            "count/jobs.batch": len(jobs) * amounts.NANOS,
        }
        told = {name: amounts.nanos(value) for name, value in ((quota.get("status") or {}).get("used") or {}).items()}
        if told != used:
            yield f"quota {key(quota)} says {told}, used is {used}"
        for name, limit in quota["spec"]["hard"].items():
            if used[name] > amounts.nanos(limit):
                yield f"quota {key(quota)}: {name} is used beyond {limit}"


CHECKS: tuple[Callable[[State], Iterator[str]], ...] = (
    check_owners,
    check_nodes,
    check_placement,
    check_replica_sets,
    check_deployments,
    check_stateful_sets,
    check_daemon_sets,
    check_cron_jobs,
    check_apart,
    check_endpoints,
    check_budgets,
    check_quotas,
)


def key(obj: Object) -> str:
    """Return namespace/name, or the name of what has no namespace."""
    meta = obj["metadata"]
    return f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else str(meta["name"])


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference of an object's controller."""
    return next((one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")), None)


def has_condition(obj: Object, kind: str) -> bool:
    """Tell whether a condition is true."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(one["type"] == kind and one["status"] == "True" for one in conditions)


def wants_apart(pod: Object) -> bool:
    """Tell whether a pod is to be alone of its kind on its node."""
    return bool((pod["spec"].get("affinity") or {}).get("podAntiAffinity"))


def is_active(pod: Object) -> bool:
    """Tell whether a pod runs or will."""
    over = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return not over and not pod["metadata"].get("deletionTimestamp")


def requests(pod: Object, resource: str) -> int:
    """Return what a pod asks for, in billionths."""
    asked = (
        container.get("resources", {}).get("requests", {}).get(resource, 0) for container in pod["spec"]["containers"]
    )
    return sum(map(amounts.nanos, asked))


def parse_indexes(text: str) -> set[int]:
    """Read a set such as "0-2,5"."""
    spans = [part.partition("-") for part in text.split(",") if part]
    return {n for first, _, last in spans for n in range(int(first), int(last or first) + 1)}


def host_ports(pod: Object) -> list[int]:
    """Return the host ports of a pod."""
    return [
        port["hostPort"] for c in pod["spec"]["containers"] for port in c.get("ports") or () if port.get("hostPort")
    ]


def fits_labels(pod: Object, node: Object) -> bool:
    """Tell whether a pod's (or template's) selector takes a node."""
    return (pod["spec"].get("nodeSelector") or {}).items() <= node["metadata"]["labels"].items()


def target_of(pod: Object) -> str:
    """Return the one node that a pod of a DaemonSet is made for; empty for other pods."""
    affinity = (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    fields = [field for term in required.get("nodeSelectorTerms") or () for field in term.get("matchFields") or ()]
    return str(fields[0]["values"][0]) if fields else ""


def lacks_quota(state: State, workload: Object) -> bool:
    """Tell whether a quota does not let one more pod of a workload in."""
    for quota in state.all("resourcequotas"):
        if quota["metadata"]["namespace"] != workload["metadata"]["namespace"]:
            continue
        used, hard = (quota.get("status") or {}).get("used") or {}, quota["spec"]["hard"]
        more = {"pods": amounts.NANOS, "requests.cpu": requests(workload["spec"]["template"], "cpu")}
        if any(amounts.nanos(used[name]) + amount > amounts.nanos(hard[name]) for name, amount in more.items()):
            return True
    return False


def has_place(pod: Object, node: Object, placed: list[Object]) -> bool:
    """Tell whether a pod that waits would fit on a node."""
    here = [one for one in placed if one["spec"]["nodeName"] == node["metadata"]["name"]]
    taken = {port for one in here for port in host_ports(one)}
    kin = [one for one in here if one["metadata"]["labels"].get("app") == pod["metadata"]["labels"].get("app")]
    if wants_apart(pod) and kin:
        return False
    if not fits_labels(pod, node) or node["spec"].get("unschedulable") or taken & {*host_ports(pod)}:
        return False
    for resource in ("cpu", "memory"):
        used = sum(requests(one, resource) for one in here)
        if used + requests(pod, resource) > amounts.nanos(node["status"]["allocatable"][resource]):
            return False
    return True


def same_template(replica_set: Object, deployment: Object) -> bool:
    """Tell whether a ReplicaSet was made for a Deployment's present template."""

    def annotations(obj: Object) -> Any:
        return obj["spec"]["template"]["metadata"].get("annotations")

    return bool(annotations(replica_set) == annotations(deployment))
