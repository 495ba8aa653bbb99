"""Starting sandboxes and containers: what is made ready before, and the hook after.

Source: pkg/kubelet/kuberuntime/kuberuntime_container.go startContainer, pkg/kubelet/kubelet_pods.go makeHostsMount (v1.37).
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lightkube.models import core_v1, node_v1

from knarr.api.errors import StatusError
from knarr.node import images
from knarr.node.pods import env
from knarr.node.pods import spec as specs
from knarr.node.pods.config import container_config, sandbox_config
from knarr.node.pods.dns import hosts_file
from knarr.node.pods.errors import ConfigFailed, HookFailed, ObjectUnavailable, StartFailed
from knarr.node.pods.hooks import run_hook
from knarr.node.pods.observe import termination_file
from knarr.node.pods.resources import pod_limits, qos_class
from knarr.node.pods.spec import ContainerSpec
from knarr.node.pods.tools import Tools
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container, ContainerState, Image, Mount, Sandbox
from knarr.node.volumes.pod import PodVolumes

HOSTS = Path("/etc/hosts")
_CONFIG_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """Where a container is started.

    Attributes:
        sandbox: The pod's sandbox.
        ips: The pod's addresses.
        volumes: Its volumes, ready.
        on_change: Called when an object that the environment refers to changes: one that was missing may be there.
    """

    sandbox: Sandbox
    ips: tuple[str, ...]
    volumes: PodVolumes
    on_change: Callable[[], None]


def make_folders(pod: core_v1.Pod, tools: Tools) -> None:
    """Make a pod's folder, its log folder and its control group."""
    folder = tools.node.pod_folder(specs.uid_of(pod))
    for name in ("volumes", "containers"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o750)
    tools.node.log_folder(pod).mkdir(parents=True, exist_ok=True, mode=0o755)
    tools.node.cgroups.create_pod(specs.uid_of(pod), qos_class(pod), pod_limits(pod))


async def runtime_handler(pod: core_v1.Pod, tools: Tools) -> str:
    """Return the runtime's name for the pod's RuntimeClass; empty for the default one.

    Raises:
        RuntimeFailure: There is no such class.
    """
    name = specs.spec_of(pod).runtimeClassName
    if not name:
        return ""
    try:
        return (await tools.client.get(node_v1.RuntimeClass, name)).handler
    except StatusError as err:
        raise RuntimeFailure("RunPodSandbox", "NOT_FOUND", f'RuntimeClass "{name}": {err.message}') from err


async def run_sandbox(pod: core_v1.Pod, tools: Tools, *, attempt: int, handler: str = "") -> str:
    """Make and start a sandbox; return its id.

    Raises:
        RuntimeFailure: The runtime could not.
    """
    return await tools.runtime.run_sandbox(sandbox_config(pod, tools.node, attempt=attempt), handler=handler)


async def create_container(
    pod: core_v1.Pod, container: ContainerSpec, place: Place, tools: Tools, *, attempt: int, target_id: str = ""
) -> str:
    """Make everything ready that a container needs, and create it; return its id.

    Args:
        pod: The pod.
        container: One of its containers.
        place: Where.
        tools: The node.
        attempt: How often it was started before.
        target_id: For an ephemeral container: the container whose processes it sees.

    Raises:
        StartFailed: Something is missing, or the runtime could not.
    """
    tell = tools.teller(pod, container.name)
    image, image_ref = await _ensure_image(pod, container, tools)
    environment = await _environment(pod, container, place, tools)
    mounts, groups = place.volumes.mounts(container, environment)
    mounts += _own_mounts(pod, container, place, tools, attempt, mounts)
    (tools.node.log_folder(pod) / container.name).mkdir(parents=True, exist_ok=True, mode=0o755)
    try:
        config = container_config(
            pod,
            container,
            tools.node,
            image,
            attempt=attempt,
            image_ref=image_ref,
            environment=environment,
            mounts=mounts,
            groups=groups,
            target_id=target_id,
        )
        sandbox = sandbox_config(pod, tools.node, attempt=place.sandbox.attempt)
        container_id = await tools.runtime.create_container(place.sandbox.id, config, sandbox)
    except RuntimeFailure as err:
        raise StartFailed("CreateContainerError", err.message, event="Failed") from err
    tell("Normal", "Created", "Container created")
    return container_id


async def start_container(pod: core_v1.Pod, container: ContainerSpec, container_id: str, tools: Tools) -> None:
    """Start a created container.

    Raises:
        StartFailed: The runtime could not.
    """
    try:
        await tools.runtime.start_container(container_id)
    except RuntimeFailure as err:
        raise StartFailed("RunContainerError", err.message, event="Failed") from err
    tools.tell(pod, "Normal", "Started", "Container started", container=container.name)


async def run_post_start(
    pod: core_v1.Pod, container: ContainerSpec, container_id: str, place: Place, tools: Tools
) -> None:
    """Run the hook that follows the start, if there is one; a container whose hook fails is killed.

    Raises:
        StartFailed: It failed.
    """
    hook = container.lifecycle.postStart if container.lifecycle is not None else None
    if hook is None:
        return
    ip = place.ips[0] if place.ips else ""
    try:
        await run_hook(tools.runtime, tools.clock, container, container_id, hook, ip=ip)
    except HookFailed as err:
        tools.tell(pod, "Warning", "FailedPostStartHook", "PostStartHook failed", container=container.name)
        tools.tell(pod, "Normal", "Killing", "FailedPostStartHook", container=container.name)
        await tools.runtime.stop_container(container_id, timeout_s=specs.grace_period_s(pod))
        raise StartFailed("PostStartHookError", "PostStartHook failed") from err


def target_of(container: ContainerSpec, containers: Sequence[Container]) -> str:
    """Return the id of the running container whose processes an ephemeral container wants to see; empty for none.

    Raises:
        StartFailed: It does not run.
    """
    name = container.targetContainerName if isinstance(container, core_v1.EphemeralContainer) else None
    if not name:
        return ""
    found = next((c for c in containers if c.name == name and c.state is ContainerState.RUNNING), None)
    if found is None:
        raise ConfigFailed(f'unable to find target container "{name}"')
    return found.id


async def _ensure_image(pod: core_v1.Pod, container: ContainerSpec, tools: Tools) -> tuple[Image, str]:
    name = container.image or ""
    if not name:
        raise StartFailed("InvalidImageName", f'Failed to apply default image tag "{name}"', event="InspectFailed")
    secrets = [
        await _secret(pod, reference.name or "", tools, _nothing)
        for reference in specs.spec_of(pod).imagePullSecrets or []
    ]
    return await tools.images.ensure(
        name,
        container.imagePullPolicy or "",
        user=specs.uid_of(pod),
        credentials=images.read_credentials(secrets, name),
        tell=tools.teller(pod, container.name),
    )


async def _environment(pod: core_v1.Pod, container: ContainerSpec, place: Place, tools: Tools) -> dict[str, str]:
    config_maps, secrets = env.referenced(container)
    sources = env.Sources(
        config_maps={name: await _config_map(pod, name, tools, place.on_change) for name in config_maps},
        secrets={name: await _secret(pod, name, tools, place.on_change) for name in secrets},
        services=tuple(_services(pod, tools)),
    )
    return env.make_environment(pod, container, sources, place.volumes.with_addresses(place.ips))


def _services(pod: core_v1.Pod, tools: Tools) -> list[core_v1.Service]:
    found = tools.services.list(specs.namespace_of(pod))
    master = tools.services.get("default", "kubernetes")
    return found if master is None or master in found else [*found, master]


async def _config_map(
    pod: core_v1.Pod, name: str, tools: Tools, on_change: Callable[[], None]
) -> core_v1.ConfigMap | None:
    try:
        return await tools.objects.get(
            core_v1.ConfigMap, specs.namespace_of(pod), name, user=specs.uid_of(pod), on_change=on_change
        )
    except ObjectUnavailable as err:
        raise ConfigFailed(str(err)) from err


async def _secret(pod: core_v1.Pod, name: str, tools: Tools, on_change: Callable[[], None]) -> core_v1.Secret | None:
    try:
        return await tools.objects.get(
            core_v1.Secret, specs.namespace_of(pod), name, user=specs.uid_of(pod), on_change=on_change
        )
    except ObjectUnavailable as err:
        raise ConfigFailed(str(err)) from err


def _nothing() -> None:
    """Credentials are read anew with each attempt."""


def _own_mounts(
    pod: core_v1.Pod, container: ContainerSpec, place: Place, tools: Tools, attempt: int, others: Sequence[Mount]
) -> list[Mount]:
    taken = {os.path.normpath(mount.container_path) for mount in others}
    folder = tools.node.pod_folder(specs.uid_of(pod))
    found = []
    if str(HOSTS) not in taken and place.ips:
        text = hosts_file(pod, ips=place.ips, domain=tools.node.domain, host_file=_read(HOSTS))
        hosts = folder / "etc-hosts"
        hosts.write_text(text)
        hosts.chmod(0o644)
        found.append(Mount(str(HOSTS), str(hosts)))
    if container.terminationMessagePath:
        file = termination_file(folder, container.name, attempt)
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        file.touch()
        file.chmod(0o666)  # the container may run as any user
        found.append(Mount(container.terminationMessagePath, str(file)))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()[:_CONFIG_LIMIT_BYTES]
    except OSError:
        return ""
