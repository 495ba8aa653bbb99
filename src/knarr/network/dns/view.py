"""What the informers know of Services, endpoints and namespaces, as DNS wants it."""

from collections.abc import Callable
from typing import Any

from lightkube.models import core_v1, discovery_v1

from knarr.control.informer import Informers
from knarr.network import slices
from knarr.network.dns.records import Endpoint, Port, Service

BY_ADDRESS = "address"
HEADLESS = "service.kubernetes.io/headless"


class ClusterView:
    """A `records.View` over informers.

    Args:
        informers: Where from.
    """

    def __init__(self, informers: Informers) -> None:
        self._services = informers.of(core_v1.Service)
        self._slices = informers.of(discovery_v1.EndpointSlice)
        self._namespaces = informers.of(core_v1.Namespace)
        self._services.add_index(BY_ADDRESS, _service_addresses)
        self._slices.add_index(slices.BY_SERVICE, slices.by_service)
        self._slices.add_index(BY_ADDRESS, _headless_addresses)

    def on_change(self, handler: Callable[[], None]) -> None:
        """Call `handler` when an answer may have become wrong."""

        def changed(_old: Any, _new: Any) -> None:
            handler()

        self._services.on_change(changed)
        self._slices.on_change(changed)
        self._namespaces.on_change(changed)

    @property
    def is_synced(self) -> bool:
        """Whether everything has been read once."""
        return self._services.is_synced and self._slices.is_synced and self._namespaces.is_synced

    async def wait_synced(self) -> None:
        """Wait until everything has been read once."""
        await self._services.wait_synced()
        await self._slices.wait_synced()
        await self._namespaces.wait_synced()

    def has_namespace(self, name: str) -> bool:
        """Tell whether a namespace exists."""
        return self._namespaces.get("", name) is not None

    def service(self, namespace: str, name: str) -> Service | None:
        """Return a Service."""
        found = self._services.get(namespace, name)
        if found is None or found.spec is None:
            return None
        if found.spec.type == "ExternalName":
            return Service(name, namespace, external_name=(found.spec.externalName or "").rstrip(".").lower())
        return Service(
            name,
            namespace,
            _cluster_ips(found),
            tuple(
                Port((port.name or "").lower(), (port.protocol or "TCP").lower(), port.port)
                for port in found.spec.ports or ()
            ),
            tuple(
                endpoint
                for one in self._slices.by_index(slices.BY_SERVICE, f"{namespace}/{name}")
                for endpoint in to_endpoints(one)
            ),
        )

    def owners(self, address: str) -> list[str]:
        """Return the names that an address has, relative to the cluster domain."""
        services = [one.metadata for one in self._services.by_index(BY_ADDRESS, address) if one.metadata]
        names = [f"{meta.name}.{meta.namespace}.svc" for meta in services]
        for one in self._slices.by_index(BY_ADDRESS, address):
            for service in slices.by_service(one):
                namespace, _, name = service.partition("/")
                hosts = [found.hostname for found in to_endpoints(one) if found.address == address]
                names += [f"{host}.{name}.{namespace}.svc" for host in hosts]
        return list(dict.fromkeys(names))


def to_endpoints(one: discovery_v1.EndpointSlice) -> list[Endpoint]:
    """Return the ready endpoints of a slice; one without a host name is named by its address."""
    ports = tuple(
        Port((port.name or "").lower(), (port.protocol or "TCP").lower(), port.port)
        for port in one.ports or ()
        if port.port
    )
    found = []
    for endpoint in one.endpoints or ():
        if endpoint.conditions is None or endpoint.conditions.ready is not False:
            for address in endpoint.addresses:
                named = endpoint.hostname or address.replace(".", "-").replace(":", "-")
                found.append(Endpoint(address, named, ports))
    return found


def _cluster_ips(service: core_v1.Service) -> tuple[str, ...]:
    spec = service.spec
    if spec is None or spec.clusterIP in {None, "", "None"}:
        return ()
    return tuple(spec.clusterIPs or [spec.clusterIP or ""])


def _service_addresses(service: core_v1.Service) -> tuple[str, ...]:
    return _cluster_ips(service)


def _headless_addresses(one: discovery_v1.EndpointSlice) -> list[str]:
    if one.metadata is None or HEADLESS not in (one.metadata.labels or {}):
        return []
    return [address for endpoint in one.endpoints or () for address in endpoint.addresses]
