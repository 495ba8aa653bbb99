"""Why a service has no endpoints."""

from collections.abc import Iterator, Sequence

from lightkube.models import core_v1, discovery_v1

from knarr.client import Client
from knarr.control import selectors
from knarr.scheduler.why import pods
from knarr.scheduler.why.answer import Answer, Finding, warnings

SERVICE_NAME = "kubernetes.io/service-name"


async def explain(client: Client, namespace: str, name: str) -> Answer:
    """Explain one service."""
    service = await client.get(core_v1.Service, name, namespace=namespace)
    assert service.metadata and service.spec
    everyone = (await client.list(core_v1.Pod, namespace=namespace)).items
    findings = [*_balancer(service), *_external(service)]
    selector = service.spec.selector or {}
    matching = [pod for pod in everyone if selector and selectors.subset(selector, _labels(pod))]
    alive = [pod for pod in matching if pod.status is None or pod.status.phase not in ("Succeeded", "Failed")]
    ready = [pod for pod in alive if pods.is_ready(pod) or service.spec.publishNotReadyAddresses]
    if service.spec.type != "ExternalName":
        if not selector and not await _has_endpoints(client, namespace, name):
            text = "it has no selector, and nobody has written an endpoint that is ready"
            findings.append(Finding(text, "spec.selector", ["an EndpointSlice of it had ready endpoints"]))
        elif selector and not alive:
            findings += _nobody(selector, everyone, len(matching))
        elif selector and not ready:
            findings.append(Finding(f"none of its {len(alive)} pods is ready", "pods", objects=_names(alive)))
        for pod in [pod for pod in alive if pod not in ready][:3]:
            answer = await pods.explain_pod(client, pod)
            findings += [
                Finding(f"{answer.object}: {one.problem}", one.source, one.remedies) for one in answer.findings
            ]
        findings += _ports(service, alive)
    findings += await warnings(client, namespace, service.metadata.uid or "")
    state = f"{len(ready)} of {len(alive)} pods ready" if selector else (service.spec.type or "ClusterIP")
    return Answer(f"service/{name}", namespace, state, not findings, findings)


async def _has_endpoints(client: Client, namespace: str, name: str) -> bool:
    """Tell whether a Service without a selector has an endpoint that is ready; one that does not say so is."""
    page = await client.list(discovery_v1.EndpointSlice, namespace=namespace, labels=f"{SERVICE_NAME}={name}")
    conditions = [endpoint.conditions for one in page.items for endpoint in one.endpoints or ()]
    return any(found is None or found.ready is not False for found in conditions)


def _nobody(selector: dict[str, str], everyone: Sequence[core_v1.Pod], finished: int) -> Iterator[Finding]:
    wanted = ",".join(f"{key}={value}" for key, value in sorted(selector.items()))
    if finished:
        yield Finding(f"all {finished} pods that its selector {wanted} means have ended", "spec.selector")
        return
    yield Finding(f"no pod matches its selector {wanted}", "spec.selector")
    for key, value in selector.items():
        rest = {other: text for other, text in selector.items() if other != key}
        near = [pod for pod in everyone if rest and selectors.subset(rest, _labels(pod))]
        if near:
            yield Finding(
                f"{len(near)} pods match all of it but {key}={value}",
                "spec.selector",
                [f"they had label {key}={value}, or the selector did not ask for it"],
                _names(near),
            )


def _ports(service: core_v1.Service, alive: Sequence[core_v1.Pod]) -> Iterator[Finding]:
    assert service.spec
    for port in service.spec.ports or ():
        if not isinstance(port.targetPort, str) or port.targetPort.isdecimal():
            continue
        lacking = [
            pod
            for pod in alive
            if pod.spec
            and not any(
                one.name == port.targetPort and (one.protocol or "TCP") == (port.protocol or "TCP")
                for container in pod.spec.containers
                for one in container.ports or ()
            )
        ]
        if lacking:
            text = f"{len(lacking)} pods have no {port.protocol or 'TCP'} port named {port.targetPort}"
            yield Finding(text, "spec.ports", [f"a container port were named {port.targetPort}"], _names(lacking))


def _balancer(service: core_v1.Service) -> Iterator[Finding]:
    assert service.spec
    balancer = service.status.loadBalancer if service.status else None
    if service.spec.type == "LoadBalancer" and not (balancer and balancer.ingress):
        cls = service.spec.loadBalancerClass
        who = f"of class {cls} " if cls else ""
        yield Finding(f"no load balancer {who}has given it an address yet", "status.loadBalancer")


def _external(service: core_v1.Service) -> Iterator[Finding]:
    if service.spec and service.spec.type == "ExternalName" and not service.spec.externalName:
        yield Finding("it names no external host", "spec.externalName")


def _labels(pod: core_v1.Pod) -> dict[str, str]:
    return (pod.metadata.labels or {}) if pod.metadata else {}


def _names(some: Sequence[core_v1.Pod]) -> list[str]:
    return [f"pod/{pod.metadata.name}" for pod in some if pod.metadata]
