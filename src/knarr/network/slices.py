"""EndpointSlices by the Service that they belong to: an index that proxy and DNS share."""

from lightkube.models import discovery_v1

SERVICE_NAME = "kubernetes.io/service-name"
BY_SERVICE = "service"


def by_service(one: discovery_v1.EndpointSlice) -> list[str]:
    """Return "namespace/name" of the Service that an EndpointSlice belongs to, if it says so."""
    meta = one.metadata
    name = (meta.labels or {}).get(SERVICE_NAME) if meta else None
    return [f"{meta.namespace}/{name}"] if meta and name else []
