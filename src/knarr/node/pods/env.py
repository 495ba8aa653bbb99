"""Environment variables of a container: references, $(VAR) expansion, service variables, downward values.

Everything that must be fetched is fetched before; this module only computes.

Source: pkg/kubelet/kubelet_pods.go makeEnvironmentVariables, third_party/forked/golang/expansion, pkg/kubelet/envvars,
pkg/fieldpath (v1.37).
"""

import base64
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from lightkube.models import core_v1

from knarr.node.pods.errors import ConfigFailed
from knarr.node.pods.resources import parse_amount, parse_amounts
from knarr.node.pods.spec import ContainerSpec, find_container, name_of, namespace_of, spec_of, uid_of


@dataclass(frozen=True, slots=True)
class Sources:
    """What references may point to.

    Attributes:
        config_maps: By name, those of the pod's namespace; None marks one that does not exist.
        secrets: Likewise.
        services: Services of the pod's namespace, and `kubernetes` of the default one.
    """

    config_maps: Mapping[str, core_v1.ConfigMap | None] = field(default_factory=dict)
    secrets: Mapping[str, core_v1.Secret | None] = field(default_factory=dict)
    services: tuple[core_v1.Service, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of the pod on its node.

    Attributes:
        node_name: The node.
        host_ips: The node's addresses, first the primary one.
        pod_ips: The pod's addresses; empty before its sandbox runs.
        allocatable: What containers without limits may be told: cores and bytes.
    """

    node_name: str = ""
    host_ips: tuple[str, ...] = ()
    pod_ips: tuple[str, ...] = ()
    allocatable: Mapping[str, Fraction] = field(default_factory=dict)


def referenced(container: ContainerSpec) -> tuple[set[str], set[str]]:
    """Return the names of the ConfigMaps and Secrets that a container's environment refers to."""
    config_maps, secrets = set(), set()
    for source in container.envFrom or []:
        if source.configMapRef is not None:
            config_maps.add(source.configMapRef.name or "")
        if source.secretRef is not None:
            secrets.add(source.secretRef.name or "")
    for variable in container.env or []:
        value = variable.valueFrom
        if value is not None and value.configMapKeyRef is not None:
            config_maps.add(value.configMapKeyRef.name or "")
        if value is not None and value.secretKeyRef is not None:
            secrets.add(value.secretKeyRef.name or "")
    return config_maps, secrets


def make_environment(pod: core_v1.Pod, container: ContainerSpec, sources: Sources, facts: Facts) -> dict[str, str]:
    """Return a container's variables: service variables first, then envFrom, then env, later ones winning.

    Args:
        pod: The pod.
        container: One of its containers.
        sources: ConfigMaps, Secrets and Services.
        facts: Addresses and names.

    Raises:
        ConfigFailed: Something that is not optional is missing.
    """
    spec = spec_of(pod)
    services = service_variables(sources.services, namespace_of(pod), links=spec.enableServiceLinks is not False)
    result: dict[str, str] = {}
    for source in container.envFrom or []:
        result.update(_from_source(source, sources, namespace_of(pod)))
    for variable in container.env or []:
        known = {**services, **result}
        if variable.valueFrom is not None:
            value = _from_reference(pod, container, variable.valueFrom, sources, facts)
            if value is not None:
                result[variable.name] = value
        else:
            result[variable.name] = expand(variable.value or "", known)
    return {**services, **result}


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; unknown names stay as they are, and $$ stands for one $."""
    result: list[str] = []
    position = 0
    while (dollar := text.find("$", position)) >= 0 and dollar + 1 < len(text):
        result.append(text[position:dollar])
        following = text[dollar + 1]
        if following == "$":
            result.append("$")
            position = dollar + 2
        elif following == "(" and (end := text.find(")", dollar + 2)) >= 0:
            name = text[dollar + 2 : end]
            result.append(variables.get(name, f"$({name})"))
            position = end + 1
        else:
            result.append(f"${following}")
            position = dollar + 2
    result.append(text[position:])
    return "".join(result)


def service_variables(services: Iterable[core_v1.Service], namespace: str, *, links: bool) -> dict[str, str]:
    """Return variables such as WEB_SERVICE_HOST for the services with an address.

    Args:
        services: Candidates of any namespace.
        namespace: The pod's; `kubernetes` of "default" is always included.
        links: Whether the pod wants those of its own namespace.
    """
    result: dict[str, str] = {}
    chosen = []
    for service in services:
        metadata, spec = service.metadata, service.spec
        if metadata is None or spec is None or not spec.clusterIP or spec.clusterIP == "None":
            continue
        is_master = metadata.namespace == "default" and metadata.name == "kubernetes"
        if is_master or (links and metadata.namespace == namespace):
            chosen.append((metadata.namespace == namespace, metadata.name or "", spec))
    # A service of the pod's own namespace wins over the master's of the same name.
    for _, name, spec in sorted(chosen, key=lambda item: item[:2]):
        result.update(_one_service(name, spec))
    return result


def _one_service(name: str, spec: core_v1.ServiceSpec) -> dict[str, str]:
    prefix = name.upper().replace("-", "_")
    address = spec.clusterIP or ""
    host = f"[{address}]" if ":" in address else address
    ports = spec.ports or []
    result = {f"{prefix}_SERVICE_HOST": address}
    if ports:
        result[f"{prefix}_SERVICE_PORT"] = str(ports[0].port)
    for port in ports:
        if port.name:
            result[f"{prefix}_SERVICE_PORT_{port.name.upper().replace('-', '_')}"] = str(port.port)
    for index, port in enumerate(ports):
        protocol = port.protocol or "TCP"
        url = f"{protocol.lower()}://{host}:{port.port}"
        stem = f"{prefix}_PORT_{port.port}_{protocol.upper()}"
        if index == 0:
            result[f"{prefix}_PORT"] = url
        result |= {
            stem: url,
            f"{stem}_PROTO": protocol.lower(),
            f"{stem}_PORT": str(port.port),
            f"{stem}_ADDR": address,
        }
    return result


def _from_source(source: core_v1.EnvFromSource, sources: Sources, namespace: str) -> dict[str, str]:
    prefix = source.prefix or ""
    if source.configMapRef is not None:
        ref = source.configMapRef
        config_map = sources.config_maps.get(ref.name or "")
        if config_map is None:
            return _missing(f'configmap "{ref.name}" not found', optional=ref.optional)
        return {f"{prefix}{key}": value for key, value in (config_map.data or {}).items()}
    if source.secretRef is not None:
        secret_ref = source.secretRef
        secret = sources.secrets.get(secret_ref.name or "")
        if secret is None:
            return _missing(f'secret "{secret_ref.name}" not found', optional=secret_ref.optional)
        return {f"{prefix}{key}": _decode(value) for key, value in (secret.data or {}).items()}
    return {}


def _missing(message: str, *, optional: bool | None) -> dict[str, str]:
    if optional:
        return {}
    raise ConfigFailed(message)


def _from_reference(
    pod: core_v1.Pod, container: ContainerSpec, source: core_v1.EnvVarSource, sources: Sources, facts: Facts
) -> str | None:
    if source.fieldRef is not None:
        return field_value(pod, source.fieldRef.fieldPath, facts)
    if source.resourceFieldRef is not None:
        return resource_value(pod, source.resourceFieldRef, facts, default_container=container.name)
    if source.configMapKeyRef is not None:
        ref = source.configMapKeyRef
        config_map = sources.config_maps.get(ref.name or "")
        if config_map is None:
            return _absent(f'configmap "{ref.name}" not found', optional=ref.optional)
        if ref.key not in (config_map.data or {}):
            where = f"{namespace_of(pod)}/{ref.name}"
            return _absent(f"couldn't find key {ref.key} in ConfigMap {where}", optional=ref.optional)
        return str((config_map.data or {})[ref.key])
    if source.secretKeyRef is not None:
        secret_ref = source.secretKeyRef
        secret = sources.secrets.get(secret_ref.name or "")
        if secret is None:
            return _absent(f'secret "{secret_ref.name}" not found', optional=secret_ref.optional)
        if secret_ref.key not in (secret.data or {}):
            where = f"{namespace_of(pod)}/{secret_ref.name}"
            return _absent(f"couldn't find key {secret_ref.key} in Secret {where}", optional=secret_ref.optional)
        return _decode((secret.data or {})[secret_ref.key])
    return None


def _absent(message: str, *, optional: bool | None) -> str | None:
    if optional:
        return None
    raise ConfigFailed(message)


def _decode(value: str) -> str:
    return base64.b64decode(value).decode("utf-8", "surrogateescape")


def field_value(pod: core_v1.Pod, path: str, facts: Facts) -> str:
    """Return the value of a downward API field.

    Args:
        pod: The pod.
        path: Such as "metadata.name", "metadata.labels['app']" or "status.podIP".
        facts: Addresses and names that the pod object may not have yet.

    Raises:
        ConfigFailed: There is no such field.
    """
    metadata = pod.metadata
    assert metadata is not None
    if path.endswith("']") and "['" in path:
        stem, _, key = path[:-2].partition("['")
        table = {"metadata.labels": metadata.labels, "metadata.annotations": metadata.annotations}.get(stem)
        return str((table or {}).get(key, ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = (metadata.labels if path == "metadata.labels" else metadata.annotations) or {}
        return "\n".join(f"{key}={_quote(value)}" for key, value in sorted(entries.items()))
    simple = {
        "metadata.name": name_of(pod),
        "metadata.namespace": namespace_of(pod),
        "metadata.uid": uid_of(pod),
        "spec.nodeName": spec_of(pod).nodeName or facts.node_name,
        "spec.serviceAccountName": spec_of(pod).serviceAccountName or "",
        "status.hostIP": facts.host_ips[0] if facts.host_ips else "",
        "status.hostIPs": ",".join(facts.host_ips),
        "status.podIP": facts.pod_ips[0] if facts.pod_ips else "",
        "status.podIPs": ",".join(facts.pod_ips),
    }
    if path not in simple:
        raise ConfigFailed(f"unsupported fieldPath: {path}")
    return simple[path]


def resource_value(
    pod: core_v1.Pod, selector: core_v1.ResourceFieldSelector, facts: Facts, *, default_container: str = ""
) -> str:
    """Return a container's limit or request, divided and rounded up.

    Args:
        pod: The pod.
        selector: Names the container, resource and divisor.
        facts: A missing limit of CPU, memory or storage is what the node can allocate.
        default_container: Stands in where the selector names none.

    Raises:
        ConfigFailed: There is no such container or resource.
    """
    name = selector.containerName or default_container
    container = find_container(pod, name)
    if container is None:
        raise ConfigFailed(f"container {name} not found")
    kind, _, resource = selector.resource.partition(".")
    resources = container.resources or core_v1.ResourceRequirements()
    limits, requests = parse_amounts(resources.limits), parse_amounts(resources.requests)
    if kind == "limits":
        value = limits.get(resource) or facts.allocatable.get(resource, Fraction(0))
    elif kind == "requests":
        value = requests.get(resource, limits.get(resource, Fraction(0)))
    else:
        raise ConfigFailed(f"unsupported container resource : {selector.resource}")
    divisor = parse_amount(selector.divisor or "1") or Fraction(1)
    return str(math.ceil(value / divisor))


def _quote(value: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}
    return '"' + "".join(escapes.get(char, char) for char in value) + '"'
