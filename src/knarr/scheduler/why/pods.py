"""Why a pod is pending or not ready."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from random import Random

from lightkube.models import core_v1

from knarr.api import errors
from knarr.client import Client
from knarr.control import context as contexts
from knarr.kit.clock import SystemClock
from knarr.kit.tasks import Supervisor
from knarr.scheduler import podfacts
from knarr.scheduler.explain import Explanation
from knarr.scheduler.profile import DEFAULT_NAME
from knarr.scheduler.scheduler import Scheduler
from knarr.scheduler.why.answer import Answer, Finding, warnings

TIMEOUT_S = 30.0
HINTS = {
    "ImagePullBackOff": "the image could be pulled: see its name, and the secrets in imagePullSecrets",
    "ErrImagePull": "the image could be pulled: see its name, and the secrets in imagePullSecrets",
    "InvalidImageName": "the image had a valid name",
    "CreateContainerConfigError": "the ConfigMaps, Secrets and keys that it names existed",
    "CrashLoopBackOff": "it did not end: see `kubectl logs --previous`",
    "OOMKilled": "it used less memory, or its limit were higher",
}


async def explain(client: Client, namespace: str, name: str) -> Answer:
    """Explain one pod."""
    pod = await client.get(core_v1.Pod, name, namespace=namespace)
    return await explain_pod(client, pod)


async def explain_pod(client: Client, pod: core_v1.Pod) -> Answer:
    """Explain a pod that was read already."""
    assert pod.metadata and pod.spec
    namespace, name, uid = pod.metadata.namespace or "", pod.metadata.name or "", pod.metadata.uid or ""
    state = state_of(pod)
    findings: list[Finding] = []
    if pod.metadata.deletionTimestamp is not None:
        held = ", ".join(pod.metadata.finalizers or ())
        findings.append(Finding(f"it is being deleted{' and held by finalizers ' + held if held else ''}", "metadata"))
    elif not pod.spec.nodeName and state == "Pending":
        async with open_scheduler(client) as scheduler:
            findings += placement(pod, scheduler.explain(podfacts.of(pod)))
        if (pod.spec.schedulerName or DEFAULT_NAME) != DEFAULT_NAME:
            findings.append(Finding(f"it is left to the scheduler {pod.spec.schedulerName}", "spec.schedulerName"))
    else:
        findings += running(pod)
        findings += await _node(client, pod)
    is_fine = not findings and state in ("Running", "Succeeded")
    if not is_fine:
        findings += await warnings(client, namespace, uid, reasons=frozenset({"FailedScheduling"}))
    return Answer(f"pod/{name}", namespace, state, is_fine, findings)


def state_of(pod: core_v1.Pod) -> str:
    """Return the state of a pod in a word or two."""
    phase = (pod.status.phase if pod.status else None) or "Pending"
    if pod.metadata and pod.metadata.deletionTimestamp is not None:
        return "Terminating"
    return "Running, not ready" if phase == "Running" and not is_ready(pod) else phase


def is_ready(pod: core_v1.Pod) -> bool:
    """Tell whether a pod is ready."""
    conditions = (pod.status.conditions or ()) if pod.status else ()
    return any(one.type == "Ready" and one.status == "True" for one in conditions)


def placement(pod: core_v1.Pod, found: Explanation) -> Iterator[Finding]:
    """Say what keeps a pod from having a node."""
    if found.whole is not None:
        yield Finding(found.whole[1], found.whole[0])
        return
    if not found.total:
        yield Finding("there are no nodes", "scheduler")
    if found.fits:
        text = f"it fits on {len(found.fits)} of {found.total} nodes: it is waiting for its turn, or for room that others leave"
        yield Finding(text, "scheduler", objects=found.fits)
    for group in found.groups:
        reasons = "; ".join(reason for _, reason in group.reasons)
        sources = ", ".join(dict.fromkeys(plugin for plugin, _ in group.reasons))
        yield Finding(
            f"{len(group.nodes)}/{found.total} nodes: {reasons}",
            sources,
            [f"{remedy}" for remedy in group.remedies],
            group.nodes,
        )


def running(pod: core_v1.Pod) -> Iterator[Finding]:
    """Say what keeps the containers of a pod that has a node from being ready."""
    status = pod.status or core_v1.PodStatus()
    if status.reason or status.message:
        yield Finding(": ".join(text for text in (status.reason, status.message) if text), "status")
    is_over = status.phase in ("Succeeded", "Failed")
    for kind, statuses in (("init container", status.initContainerStatuses), ("container", status.containerStatuses)):
        for one in statuses or ():
            is_done = one.state is not None and one.state.terminated is not None and one.state.terminated.exitCode == 0
            if (one.ready or is_done) and not is_over:
                continue
            yield from _container(one, f"{kind} {one.name}", is_over=is_over)
    gates = [gate.conditionType for gate in (pod.spec.readinessGates or ())] if pod.spec else []
    held = {one.type for one in status.conditions or () if one.status == "True"}
    for gate in gates:
        if gate not in held:
            yield Finding(f"readiness gate {gate} is not True", "status.conditions", [f"condition {gate} were True"])


def _container(one: core_v1.ContainerStatus, what: str, *, is_over: bool) -> Iterator[Finding]:
    state, last = one.state or core_v1.ContainerState(), one.lastState or core_v1.ContainerState()
    ended = state.terminated or last.terminated
    how = ""
    if ended is not None and (ended.exitCode or not is_over):
        how = f"ended with exit code {ended.exitCode}" + (f" ({ended.reason})" if ended.reason else "")
    reason = state.waiting.reason if state.waiting else None
    remedies = [HINTS[key] for key in (ended.reason if ended else None, reason) if key in HINTS][:1]
    if state.waiting is not None:
        text = f"{what} waits: {reason or 'starting'}" + (f", {state.waiting.message}" if state.waiting.message else "")
        yield Finding(text + (f"; it {how}, {one.restartCount} restarts" if how else ""), what, remedies)
    elif state.terminated is not None and how:
        yield Finding(f"{what} {how}", what, remedies)
    elif state.running is not None and not is_over:
        text = f"{what} runs but is not ready: its readiness or startup probe does not succeed"
        yield Finding(text + (f"; it {how} before" if how else ""), what)


async def _node(client: Client, pod: core_v1.Pod) -> list[Finding]:
    assert pod.spec
    name = pod.spec.nodeName or ""
    if not name or (pod.status and pod.status.phase in ("Succeeded", "Failed")):
        return []
    try:
        node = await client.get(core_v1.Node, name)
    except errors.NotFound:
        return [Finding(f"its node {name} is gone", "node", objects=[name])]
    conditions = (node.status.conditions or ()) if node.status else ()
    ready = next((one for one in conditions if one.type == "Ready"), None)
    if ready is not None and ready.status != "True":
        return [Finding(f"its node {name} is not ready: {ready.message or ready.reason}", "node", objects=[name])]
    return []


@asynccontextmanager
async def open_scheduler(client: Client) -> AsyncIterator[Scheduler]:
    """Give a scheduler that knows the cluster and is only asked.

    Raises:
        Forbidden: the caller may not read what a scheduler must.
        ServerTimeout: the cluster could not be read in time.
    """
    await client.list_page(core_v1.Node, limit=1)  # a refusal is told here; informers would try again for ever
    clock, random = SystemClock(), Random()
    async with (
        Supervisor("why", clock=clock, random=random) as tasks,
        contexts.open_context(lambda name: client, "why", clock=clock, random=random) as context,
    ):
        made = Scheduler(context, tasks)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await made.wait_synced()
        except TimeoutError:
            raise errors.ServerTimeout("the cluster could not be read in time; may the user list all kinds?") from None
        yield made
