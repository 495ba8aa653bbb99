"""Endpoints and EndpointSlices against the real API server in this process."""

from lightkube.models import core_v1, discovery_v1, meta_v1

from knarr.client import DeleteOptions, PatchType
from tests.controllers.lab import Lab, open_lab


def service(name: str = "web", **spec: object) -> core_v1.Service:
    ports = [core_v1.ServicePort(name="http", port=80, targetPort="web")]
    return core_v1.Service(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default", labels={"team": "a"}),
        spec=core_v1.ServiceSpec(selector={"app": "web"}, ports=ports, **spec),  # type: ignore[arg-type]
    )


def pod(name: str, image: str = "web:1") -> core_v1.Pod:
    port = core_v1.ContainerPort(name="web", containerPort=8080)
    return core_v1.Pod(
        metadata=meta_v1.ObjectMeta(name=name, namespace="default", labels={"app": "web"}),
        spec=core_v1.PodSpec(containers=[core_v1.Container(name="web", image=image, ports=[port])]),
    )


async def addresses(lab: Lab, name: str = "web") -> dict[str, bool]:
    """Return addresses in slices, and whether each is ready."""
    found = {}
    selector = f"kubernetes.io/service-name={name}"
    for one in (await lab.client.list(discovery_v1.EndpointSlice, labels=selector)).items:
        for endpoint in one.endpoints or ():
            found[endpoint.addresses[0]] = bool(endpoint.conditions and endpoint.conditions.ready)
    return found


async def test_slices_and_endpoints_follow_pods() -> None:
    async with open_lab("n1") as lab:
        lab.nodes.unready.add("web:slow")
        await lab.client.create(service())

        async def placeholder() -> bool:
            slices = (await lab.client.list(discovery_v1.EndpointSlice, labels="kubernetes.io/service-name=web")).items
            return len(slices) == 1 and not slices[0].endpoints

        await lab.until(placeholder)
        await lab.client.create(pod("a"))
        await lab.client.create(pod("b", "web:slow"))

        async def both() -> bool:
            return sorted((await addresses(lab)).values()) == [False, True]

        await lab.until(both)
        slices = (await lab.client.list(discovery_v1.EndpointSlice, labels="kubernetes.io/service-name=web")).items
        [one] = slices
        assert one.metadata and one.metadata.labels and one.metadata.labels["team"] == "a"
        assert [(port.name, port.port, port.protocol) for port in one.ports or ()] == [("http", 8080, "TCP")]
        old = await lab.client.get(core_v1.Endpoints, "web", namespace="default")
        [subset] = old.subsets or []
        assert (len(subset.addresses or ()), len(subset.notReadyAddresses or ())) == (1, 1)
        assert [(port.name, port.port) for port in subset.ports or ()] == [("http", 8080)]
        await lab.client.delete(core_v1.Pod, "a", namespace="default", options=DeleteOptions(grace_s=0))

        async def left() -> bool:
            return [*(await addresses(lab)).values()] == [False]

        await lab.until(left)
        await lab.client.delete(core_v1.Service, "web", namespace="default")

        async def gone() -> bool:
            names = [one.metadata.name for one in (await lab.client.list(core_v1.Endpoints)).items if one.metadata]
            return "web" not in names and not await addresses(lab)

        await lab.until(gone, seconds=60)


async def test_many_pods_fill_slices_of_a_hundred_and_one_change_writes_one_slice() -> None:
    async with open_lab("n1", "n2") as lab:
        await lab.client.create(service())
        for number in range(150):
            await lab.client.create(pod(f"p{number}"))

        async def all_there() -> bool:
            return len(await addresses(lab)) == 150

        await lab.until(all_there)
        await lab.settle()

        async def versions() -> dict[str, str]:
            page = await lab.client.list(discovery_v1.EndpointSlice, labels="kubernetes.io/service-name=web")
            return {one.metadata.name or "": one.metadata.resourceVersion or "" for one in page.items if one.metadata}

        before = await versions()
        assert len(before) == 2
        await lab.client.delete(core_v1.Pod, "p7", namespace="default", options=DeleteOptions(grace_s=0))

        async def one_less() -> bool:
            return len(await addresses(lab)) == 149

        await lab.until(one_less)
        await lab.settle()
        after = await versions()
        assert sum(before[name] != after[name] for name in before) == 1


async def test_services_without_selector_are_left_alone() -> None:
    async with open_lab("n1") as lab:
        made = service("manual")
        assert made.spec
        made.spec.selector = None
        await lab.client.create(made)
        await lab.client.create(pod("a"))
        await lab.settle(3)
        assert await addresses(lab, "manual") == {}
        await lab.client.patch(
            core_v1.Service, "manual", {"spec": {"selector": {"app": "web"}}}, PatchType.MERGE, namespace="default"
        )

        async def filled() -> bool:
            return bool(await addresses(lab, "manual"))

        await lab.until(filled)


async def test_endpoints_written_by_hand_are_mirrored() -> None:
    async with open_lab() as lab:
        made = service("manual")
        assert made.spec
        made.spec.selector = None
        await lab.client.create(made)
        subset = core_v1.EndpointSubset(
            addresses=[core_v1.EndpointAddress(ip="192.0.2.1")], ports=[core_v1.EndpointPort(port=8080, name="http")]
        )
        endpoints = core_v1.Endpoints(metadata=meta_v1.ObjectMeta(name="manual", namespace="default"), subsets=[subset])
        await lab.client.create(endpoints)

        async def mirrored() -> bool:
            return await addresses(lab, "manual") == {"192.0.2.1": True}

        await lab.until(mirrored)
        body = {"subsets": [{"addresses": [{"ip": "192.0.2.2"}], "ports": [{"port": 8080, "name": "http"}]}]}
        await lab.client.patch(core_v1.Endpoints, "manual", body, PatchType.MERGE, namespace="default")

        async def followed() -> bool:
            return await addresses(lab, "manual") == {"192.0.2.2": True}

        await lab.until(followed)
        await lab.client.delete(core_v1.Endpoints, "manual", namespace="default")

        async def gone() -> bool:
            return not await addresses(lab, "manual")

        await lab.until(gone)


async def test_a_replication_controller_keeps_its_pods() -> None:
    async with open_lab("n1") as lab:
        template = core_v1.PodTemplateSpec(
            metadata=meta_v1.ObjectMeta(labels={"app": "old"}),
            spec=core_v1.PodSpec(containers=[core_v1.Container(name="c", image="x")]),
        )
        controller = core_v1.ReplicationController(
            metadata=meta_v1.ObjectMeta(name="old", namespace="default"),
            spec=core_v1.ReplicationControllerSpec(replicas=2, selector={"app": "old"}, template=template),
        )
        await lab.client.create(controller)

        async def ready() -> bool:
            status = (await lab.client.get(core_v1.ReplicationController, "old", namespace="default")).status
            return status is not None and status.readyReplicas == status.replicas == 2

        await lab.until(ready)
