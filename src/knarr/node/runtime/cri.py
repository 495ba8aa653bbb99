"""The runtime protocols over CRI: gRPC on containerd's unix socket, its own event stream included.

The one place where protobuf messages become our values and gRPC errors become ours. CRI's GetContainerEvents is missing from
containerd 1.6, so events come from containerd's event service on the same socket; they are hints, never the truth.

Source: k8s.io/cri-api/pkg/apis/runtime/v1 (v1.37); containerd api/services/events/v1 (1.6).
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message
from grpclib import client as grpc
from grpclib.const import Cardinality
from grpclib.exceptions import GRPCError, StreamTerminatedError

from knarr.node.runtime import cri_pb2 as pb
from knarr.node.runtime import events_pb2 as events
from knarr.node.runtime.errors import ExecTimeout, Missing, RuntimeFailure, Unavailable
from knarr.node.runtime.runtime import (
    Condition,
    Container,
    ContainerConfig,
    ContainerState,
    Credentials,
    Event,
    EventKind,
    ExecResult,
    Image,
    Namespaces,
    Profile,
    Resources,
    Sandbox,
    SandboxConfig,
    Security,
    Version,
)

CALL_TIMEOUT_S = 120.0  # upstream's --runtime-request-timeout
PULL_TIMEOUT_S = 3600.0
NAMESPACE = "k8s.io"  # where containerd's CRI plugin keeps its objects
UID_LABEL = "io.kubernetes.pod.uid"

M = TypeVar("M", bound=Message)


class CriRuntime:
    """Runtime, Images and Streams over one gRPC channel; `aclose` ends it."""

    def __init__(self, socket: str) -> None:
        self._channel = grpc.Channel(path=socket)

    async def aclose(self) -> None:
        """Close the channel."""
        self._channel.close()

    async def version(self) -> Version:
        """Return what the runtime is."""
        reply = await self._call("Version", pb.VersionRequest(), pb.VersionResponse, timeout_s=5)
        return Version(reply.runtime_name, reply.runtime_version)

    async def conditions(self) -> list[Condition]:
        """Return whether the runtime and its network are ready."""
        reply = await self._call("Status", pb.StatusRequest(), pb.StatusResponse, timeout_s=10)
        return [Condition(c.type, c.status, c.reason, c.message) for c in reply.status.conditions]

    async def run_sandbox(self, config: SandboxConfig, *, handler: str = "") -> str:
        """Create and start a sandbox with its network; return its id."""
        request = pb.RunPodSandboxRequest(config=encode_sandbox(config), runtime_handler=handler)
        reply = await self._call("RunPodSandbox", request, pb.RunPodSandboxResponse, timeout_s=240)
        return reply.pod_sandbox_id

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what runs in a sandbox and give its network back."""
        await self._forgiving("StopPodSandbox", pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a sandbox and its containers."""
        await self._forgiving("RemovePodSandbox", pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def list_sandboxes(self, *, uid: str = "") -> list[Sandbox]:
        """Return all sandboxes, or those of one pod."""
        request = pb.ListPodSandboxRequest()
        if uid:
            request.filter.label_selector[UID_LABEL] = uid
        reply = await self._call("ListPodSandbox", request, pb.ListPodSandboxResponse)
        return [decode_sandbox(item) for item in reply.items]

    async def sandbox_status(self, sandbox_id: str) -> Sandbox | None:
        """Return one sandbox with its addresses, or None if there is none."""
        request = pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id)
        try:
            reply = await self._call("PodSandboxStatus", request, pb.PodSandboxStatusResponse)
        except Missing:
            return None
        return decode_sandbox(reply.status)

    async def create_container(self, sandbox_id: str, config: ContainerConfig, sandbox: SandboxConfig) -> str:
        """Create a container in a sandbox that runs; return its id."""
        request = pb.CreateContainerRequest(
            pod_sandbox_id=sandbox_id, config=encode_container(config), sandbox_config=encode_sandbox(sandbox)
        )
        reply = await self._call("CreateContainer", request, pb.CreateContainerResponse)
        return reply.container_id

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        await self._call(
            "StartContainer", pb.StartContainerRequest(container_id=container_id), pb.StartContainerResponse
        )

    async def stop_container(self, container_id: str, *, timeout_s: int) -> None:
        """Ask a container to end, and kill it after `timeout_s`; return when it has ended."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=timeout_s)
        await self._forgiving("StopContainer", request, timeout_s=CALL_TIMEOUT_S + timeout_s)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container, killing it if it runs."""
        await self._forgiving("RemoveContainer", pb.RemoveContainerRequest(container_id=container_id))

    async def list_containers(self, *, uid: str = "") -> list[Container]:
        """Return all containers, or those of one pod."""
        request = pb.ListContainersRequest()
        if uid:
            request.filter.label_selector[UID_LABEL] = uid
        reply = await self._call("ListContainers", request, pb.ListContainersResponse)
        return [_decode_listed(item) for item in reply.containers]

    async def container_status(self, container_id: str, *, verbose: bool = False) -> Container | None:
        """Return one container in full, or None if there is none; `verbose` also finds its pid and sandbox."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=verbose)
        try:
            reply = await self._call("ContainerStatus", request, pb.ContainerStatusResponse)
        except Missing:
            return None
        return _decode_status(reply.status, reply.info)

    async def exec_sync(self, container_id: str, command: Sequence[str], *, timeout_s: int) -> ExecResult:
        """Run a command in a container to its end."""
        request = pb.ExecSyncRequest(container_id=container_id, cmd=command, timeout=timeout_s)
        limit_s = timeout_s + CALL_TIMEOUT_S if timeout_s else None
        try:
            reply = await self._call("ExecSync", request, pb.ExecSyncResponse, timeout_s=limit_s)
        except RuntimeFailure as err:
            if err.code == "DEADLINE_EXCEEDED" or ("timeout" in err.message and "exceeded" in err.message):
                raise ExecTimeout(err.call, err.code, err.message) from err
            raise
        return ExecResult(reply.stdout, reply.stderr, reply.exit_code)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Give a running container other limits."""
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=_encode_resources(resources))
        await self._call("UpdateContainerResources", request, pb.UpdateContainerResourcesResponse)

    async def reopen_log(self, container_id: str) -> None:
        """Have the runtime open the log file anew, after a rotation moved it."""
        request = pb.ReopenContainerLogRequest(container_id=container_id)
        await self._call("ReopenContainerLog", request, pb.ReopenContainerLogResponse)

    async def events(self) -> AsyncIterator[Event]:
        """Yield what happens from now on; raises Unavailable when the runtime goes away."""
        method: grpc.UnaryStreamMethod[Message, Any] = grpc.UnaryStreamMethod(
            self._channel, "/containerd.services.events.v1.Events/Subscribe", events.SubscribeRequest, events.Envelope
        )
        try:
            async with method.open() as stream:
                await stream.send_message(events.SubscribeRequest(filters=[f"namespace=={NAMESPACE}"]), end=True)
                async for envelope in stream:
                    event = _decode_event(envelope)
                    if event is not None:
                        yield event
        except (GRPCError, StreamTerminatedError, OSError) as err:
            raise Unavailable("Subscribe", "UNAVAILABLE", str(err)) from err
        raise Unavailable("Subscribe", "UNAVAILABLE", "the event stream ended")

    async def list_images(self) -> list[Image]:
        """Return all images."""
        reply = await self._image_call("ListImages", pb.ListImagesRequest(), pb.ListImagesResponse)
        return [_decode_image(item) for item in reply.images]

    async def image_status(self, image: str) -> Image | None:
        """Return the image of that name, digest or id, or None."""
        request = pb.ImageStatusRequest(image=pb.ImageSpec(image=image))
        reply = await self._image_call("ImageStatus", request, pb.ImageStatusResponse)
        return _decode_image(reply.image) if reply.HasField("image") else None

    async def pull_image(self, image: str, credentials: Credentials | None = None) -> str:
        """Pull an image; return the reference to create containers from."""
        request = pb.PullImageRequest(image=pb.ImageSpec(image=image))
        if credentials is not None:
            request.auth.CopyFrom(
                pb.AuthConfig(
                    username=credentials.username,
                    password=credentials.password,
                    auth=credentials.auth,
                    server_address=credentials.server_address,
                    identity_token=credentials.identity_token,
                )
            )
        reply = await self._image_call("PullImage", request, pb.PullImageResponse, timeout_s=PULL_TIMEOUT_S)
        return reply.image_ref

    async def remove_image(self, image: str) -> None:
        """Remove an image with all its names."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image))
        await self._image_call("RemoveImage", request, pb.RemoveImageResponse)

    async def image_filesystem(self) -> tuple[str, int]:
        """Return where images are stored and the bytes that they use."""
        reply = await self._image_call("ImageFsInfo", pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse)
        if not reply.image_filesystems:
            return "", 0
        usage = reply.image_filesystems[0]
        return usage.fs_id.mountpoint, usage.used_bytes.value

    async def exec_url(
        self, container_id: str, command: Sequence[str], *, tty: bool, stdin: bool, stdout: bool, stderr: bool
    ) -> str:
        """Prepare a command in a container; return the URL of its stream."""
        request = pb.ExecRequest(
            container_id=container_id, cmd=command, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr
        )
        return (await self._call("Exec", request, pb.ExecResponse)).url

    async def attach_url(self, container_id: str, *, tty: bool, stdin: bool, stdout: bool, stderr: bool) -> str:
        """Prepare an attachment to a container's main process; return the URL of its stream."""
        request = pb.AttachRequest(container_id=container_id, tty=tty, stdin=stdin, stdout=stdout, stderr=stderr)
        return (await self._call("Attach", request, pb.AttachResponse)).url

    async def port_forward_url(self, sandbox_id: str, ports: Sequence[int]) -> str:
        """Prepare connections to ports inside a sandbox; return the URL of their stream."""
        request = pb.PortForwardRequest(pod_sandbox_id=sandbox_id, port=ports)
        return (await self._call("PortForward", request, pb.PortForwardResponse)).url

    async def _forgiving(self, name: str, request: Message, *, timeout_s: float = CALL_TIMEOUT_S) -> None:
        reply_type = getattr(pb, f"{name}Response")
        try:
            await self._call(name, request, reply_type, timeout_s=timeout_s)
        except Missing:
            return

    async def _call(
        self, name: str, request: Message, reply: type[M], *, timeout_s: float | None = CALL_TIMEOUT_S
    ) -> M:
        return await self._unary("RuntimeService", name, request, reply, timeout_s)

    async def _image_call(
        self, name: str, request: Message, reply: type[M], *, timeout_s: float | None = CALL_TIMEOUT_S
    ) -> M:
        return await self._unary("ImageService", name, request, reply, timeout_s)

    async def _unary(self, service: str, name: str, request: Message, reply: type[M], timeout_s: float | None) -> M:
        path = f"/runtime.v1.{service}/{name}"
        try:
            # Not UnaryUnaryMethod: it asks for trailers in one more round through the loop.
            async with self._channel.request(
                path, Cardinality.UNARY_UNARY, type(request), reply, timeout=timeout_s
            ) as stream:
                await stream.send_message(request, end=True)
                message = await stream.recv_message()
            if message is None:
                raise RuntimeFailure(name, "INTERNAL", "empty reply")
            return message
        except GRPCError as err:
            raise _to_failure(name, err.status.name, err.message or "") from err
        except TimeoutError as err:
            raise RuntimeFailure(name, "DEADLINE_EXCEEDED", "context deadline exceeded") from err
        except (StreamTerminatedError, OSError) as err:
            raise Unavailable(name, "UNAVAILABLE", str(err)) from err


async def wait_serving(socket: str, *, timeout_s: float, poll_s: float = 0.05) -> Version:
    """Wait until the runtime behind `socket` answers.

    Args:
        socket: Path of the unix socket.
        timeout_s: How long to wait in real time.
        poll_s: Pause between attempts.

    Returns:
        What answered.

    Raises:
        Unavailable: nothing answered in time.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        runtime = CriRuntime(socket)
        try:
            return await runtime.version()
        except RuntimeFailure:
            if loop.time() > deadline:
                raise
        finally:
            await runtime.aclose()
        await asyncio.sleep(poll_s)


def _to_failure(call: str, code: str, message: str) -> RuntimeFailure:
    if code == "NOT_FOUND" or message.endswith(": not found"):
        return Missing(call, code, message)
    if code == "UNAVAILABLE":
        return Unavailable(call, code, message)
    return RuntimeFailure(call, code, message)


_EVENTS: Mapping[str, tuple[EventKind, type[Message]]] = {
    "/tasks/start": (EventKind.STARTED, events.TaskStart),
    "/tasks/exit": (EventKind.EXITED, events.TaskExit),
    "/tasks/oom": (EventKind.OOM, events.TaskOOM),
    "/containers/create": (EventKind.CREATED, events.ContainerCreate),
    "/containers/delete": (EventKind.DELETED, events.ContainerDelete),
}


def _decode_event(envelope: Any) -> Event | None:
    known = _EVENTS.get(envelope.topic)
    if known is None:
        return None
    kind, cls = known
    payload: Any = cls.FromString(envelope.event.value)
    if kind is EventKind.EXITED and payload.id != payload.container_id:
        return None  # an exec ended, not the container
    return Event(kind, payload.id if kind in (EventKind.CREATED, EventKind.DELETED) else payload.container_id)


def encode_sandbox(config: SandboxConfig) -> Any:
    """Make the PodSandboxConfig message of `config`."""
    security = config.security
    context = pb.LinuxSandboxSecurityContext(
        namespace_options=_encode_namespaces(security.namespaces),
        privileged=security.privileged,
        readonly_rootfs=security.readonly_rootfs,
        supplemental_groups=security.supplemental_groups,
        seccomp=_encode_profile(security.seccomp),
    )
    _set_identity(context, security)
    return pb.PodSandboxConfig(
        metadata=pb.PodSandboxMetadata(
            name=config.name, uid=config.uid, namespace=config.namespace, attempt=config.attempt
        ),
        hostname=config.hostname,
        log_directory=config.log_directory,
        dns_config=pb.DNSConfig(servers=config.dns.servers, searches=config.dns.searches, options=config.dns.options),
        port_mappings=[
            pb.PortMapping(
                protocol=port.protocol,
                container_port=port.container_port,
                host_port=port.host_port,
                host_ip=port.host_ip,
            )
            for port in config.ports
        ],
        labels=config.labels,
        annotations=config.annotations,
        linux=pb.LinuxPodSandboxConfig(
            cgroup_parent=config.cgroup_parent, security_context=context, sysctls=config.sysctls
        ),
    )


def encode_container(config: ContainerConfig) -> Any:
    """Make the ContainerConfig message of `config`."""
    return pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name=config.name, attempt=config.attempt),
        image=pb.ImageSpec(image=config.image, user_specified_image=config.user_image),
        command=config.command,
        args=config.args,
        working_dir=config.working_dir,
        envs=[pb.KeyValue(key=key, value=value) for key, value in config.env],
        mounts=[
            pb.Mount(
                container_path=mount.container_path,
                host_path=mount.host_path,
                readonly=mount.readonly,
                propagation=mount.propagation.value,  # type: ignore[arg-type]
                recursive_read_only=mount.recursive_readonly,
            )
            for mount in config.mounts
        ],
        devices=[
            pb.Device(container_path=d.container_path, host_path=d.host_path, permissions=d.permissions)
            for d in config.devices
        ],
        labels=config.labels,
        annotations=config.annotations,
        log_path=config.log_path,
        stdin=config.stdin,
        stdin_once=config.stdin_once,
        tty=config.tty,
        linux=pb.LinuxContainerConfig(
            resources=_encode_resources(config.resources), security_context=_encode_security(config.security)
        ),
    )


def _encode_security(security: Security) -> Any:
    context = pb.LinuxContainerSecurityContext(
        capabilities=pb.Capability(
            add_capabilities=security.add_capabilities, drop_capabilities=security.drop_capabilities
        ),
        privileged=security.privileged,
        namespace_options=_encode_namespaces(security.namespaces),
        run_as_username=security.run_as_username,
        readonly_rootfs=security.readonly_rootfs,
        supplemental_groups=security.supplemental_groups,
        supplemental_groups_policy=int(security.strict_groups),  # type: ignore[arg-type]
        no_new_privs=security.no_new_privileges,
        masked_paths=security.masked_paths,
        readonly_paths=security.readonly_paths,
        seccomp=_encode_profile(security.seccomp),
        apparmor=_encode_profile(security.apparmor) if security.apparmor else None,
    )
    _set_identity(context, security)
    return context


def _set_identity(context: Any, security: Security) -> None:
    if security.run_as_user is not None:
        context.run_as_user.value = security.run_as_user
    if security.run_as_group is not None:
        context.run_as_group.value = security.run_as_group
    if security.selinux is not None:
        labels = security.selinux
        context.selinux_options.CopyFrom(
            pb.SELinuxOption(user=labels.user, role=labels.role, type=labels.type, level=labels.level)
        )


def _encode_namespaces(namespaces: Namespaces) -> Any:
    return pb.NamespaceOption(
        network=namespaces.network.value,  # type: ignore[arg-type]
        pid=namespaces.pid.value,  # type: ignore[arg-type]
        ipc=namespaces.ipc.value,  # type: ignore[arg-type]
        target_id=namespaces.target_id,
    )


def _encode_profile(profile: Profile) -> Any:
    return pb.SecurityProfile(profile_type=profile.type, localhost_ref=profile.localhost_ref)


def _encode_resources(resources: Resources) -> Any:
    return pb.LinuxContainerResources(
        cpu_shares=resources.cpu_shares,
        cpu_period=resources.cpu_period_us,
        cpu_quota=resources.cpu_quota_us,
        memory_limit_in_bytes=resources.memory_limit_bytes,
        oom_score_adj=resources.oom_score_adj,
        unified=resources.unified,
    )


def decode_sandbox(item: Any) -> Sandbox:
    """Make a Sandbox from a PodSandbox or a PodSandboxStatus message."""
    ips: tuple[str, ...] = ()
    if isinstance(item, pb.PodSandboxStatus) and item.network.ip:
        ips = (item.network.ip, *(extra.ip for extra in item.network.additional_ips))
    return Sandbox(
        id=item.id,
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        uid=item.metadata.uid,
        attempt=item.metadata.attempt,
        ready=item.state == pb.SANDBOX_READY,
        created_at_ns=item.created_at,
        labels=dict(item.labels),
        annotations=dict(item.annotations),
        ips=ips,
    )


def _decode_listed(item: Any) -> Container:
    return Container(
        id=item.id,
        sandbox_id=item.pod_sandbox_id,
        name=item.metadata.name,
        attempt=item.metadata.attempt,
        image=item.image.image,
        image_ref=item.image_ref,
        state=ContainerState(item.state),
        created_at_ns=item.created_at,
        labels=dict(item.labels),
        annotations=dict(item.annotations),
    )


def _decode_status(item: Any, info: Mapping[str, str]) -> Container:
    facts = json.loads(info["info"]) if "info" in info else {}
    return Container(
        id=item.id,
        sandbox_id=str(facts.get("sandboxID", "")),
        name=item.metadata.name,
        attempt=item.metadata.attempt,
        image=item.image.image,
        image_ref=item.image_ref,
        state=ContainerState(item.state),
        created_at_ns=item.created_at,
        labels=dict(item.labels),
        annotations=dict(item.annotations),
        started_at_ns=item.started_at,
        finished_at_ns=item.finished_at,
        exit_code=item.exit_code,
        reason=item.reason,
        message=item.message,
        log_path=item.log_path,
        pid=int(facts.get("pid", 0)),
    )


def _decode_image(item: Any) -> Image:
    return Image(
        id=item.id,
        tags=tuple(item.repo_tags),
        digests=tuple(item.repo_digests),
        size_bytes=item.size,
        uid=item.uid.value if item.HasField("uid") else None,
        username=item.username,
        pinned=item.pinned,
    )
