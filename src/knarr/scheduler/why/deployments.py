"""Why a deployment has fewer pods than it wants."""

from lightkube.models import apps_v1, core_v1

from knarr.client import Client
from knarr.control import owners, selectors
from knarr.scheduler.why import pods
from knarr.scheduler.why.answer import Answer, Finding, warnings

EXPLAINED = 3
"""So many of its pods are asked why; the others mostly have the same reason."""


async def explain(client: Client, namespace: str, name: str) -> Answer:
    """Explain one deployment."""
    found = await client.get(apps_v1.Deployment, name, namespace=namespace)
    assert found.metadata and found.spec
    wanted = 1 if found.spec.replicas is None else found.spec.replicas
    status = found.status or apps_v1.DeploymentStatus()
    findings: list[Finding] = []
    if found.spec.paused:
        findings.append(Finding("it is paused: changes of its template wait", "spec.paused", ["it were resumed"]))
    for one in status.conditions or ():
        is_bad = one.status == "True" if one.type == "ReplicaFailure" else one.status == "False"
        if is_bad and one.type in ("ReplicaFailure", "Progressing"):
            findings.append(Finding(f"{one.reason}: {one.message}", f"condition {one.type}"))
    if (status.observedGeneration or 0) < (found.metadata.generation or 0):
        findings.append(Finding("its controller has not seen its latest change", "status.observedGeneration"))
    sets = [
        one
        for one in (await client.list(apps_v1.ReplicaSet, namespace=namespace)).items
        if _is_of(one, found.metadata.uid)
    ]
    if wanted and not sets and not found.spec.paused:
        findings.append(Finding("no ReplicaSet was made of it", "controller"))
    for replicas in sets:
        assert replicas.metadata
        if replicas.spec and replicas.spec.replicas:
            told = await warnings(client, namespace, replicas.metadata.uid or "")
            label = f"replicaset/{replicas.metadata.name}"
            findings += [Finding(f"{label}: {event.problem}", event.source) for event in told]
    findings += await _pods(client, found, namespace)
    ready = status.readyReplicas or 0
    is_fine = not findings and ready >= wanted and (status.updatedReplicas or 0) >= wanted
    return Answer(f"deployment/{name}", namespace, f"{ready} of {wanted} ready", is_fine, findings)


async def _pods(client: Client, found: apps_v1.Deployment, namespace: str) -> list[Finding]:
    assert found.spec
    everyone = (await client.list(core_v1.Pod, namespace=namespace)).items
    unready = [
        pod
        for pod in everyone
        if pod.metadata and selectors.matches(found.spec.selector, pod.metadata.labels) and not pods.is_ready(pod)
    ]
    told: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for pod in unready[:EXPLAINED]:
        answer = await pods.explain_pod(client, pod)
        for one in answer.findings:
            key = (one.problem, one.source, tuple(one.remedies))
            told.setdefault(key, []).append(answer.object)
    return [Finding(problem, source, remedies, names) for (problem, source, remedies), names in told.items()]


def _is_of(one: apps_v1.ReplicaSet, uid: str | None) -> bool:
    reference = owners.controller_of(one)
    return reference is not None and reference.uid == uid
