"""Security contexts: a pod's and a container's, merged into what the runtime is told.

Source: pkg/securitycontext/util.go, pkg/kubelet/kuberuntime/security_context.go (v1.37).
"""

from collections.abc import Sequence
from typing import TypeVar

from lightkube.models import core_v1

from knarr.node.pods.errors import ConfigFailed
from knarr.node.pods.spec import ContainerSpec, format_pod, spec_of
from knarr.node.runtime.runtime import Image, NamespaceMode, Namespaces, Profile, Security, SeLinux

V = TypeVar("V")

MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


def sandbox_security(pod: core_v1.Pod, *, seccomp_root: str) -> Security:
    """Return the security of a pod's sandbox."""
    context = spec_of(pod).securityContext or core_v1.PodSecurityContext()
    return Security(
        namespaces=_namespaces(pod),
        run_as_user=context.runAsUser,
        run_as_group=context.runAsGroup if context.runAsUser is not None else None,
        supplemental_groups=supplemental_groups(pod),
        strict_groups=context.supplementalGroupsPolicy == "Strict",
        privileged=any(is_privileged(container) for container in _every(pod)),
        seccomp=Profile("RuntimeDefault"),
        selinux=_selinux(context.seLinuxOptions),
    )


def container_security(
    pod: core_v1.Pod,
    container: ContainerSpec,
    image: Image,
    *,
    groups: Sequence[int] = (),
    seccomp_root: str,
    target_id: str = "",
) -> Security:
    """Return the security of one container.

    Args:
        pod: The pod.
        container: One of its containers.
        image: Its image, which names the user where the spec does not.
        groups: Groups that its volumes ask for.
        seccomp_root: Folder of localhost seccomp profiles.
        target_id: For an ephemeral container: the container whose processes it sees.

    Raises:
        ConfigFailed: It must not run as root, but would or might.
    """
    own = container.securityContext or core_v1.SecurityContext()
    pods = spec_of(pod).securityContext or core_v1.PodSecurityContext()
    user = _first(own.runAsUser, pods.runAsUser)
    if _first(own.runAsNonRoot, pods.runAsNonRoot):
        _check_non_root(pod, container, user, image)
    privileged = is_privileged(container)
    capabilities = own.capabilities or core_v1.Capabilities()
    unmasked = own.procMount == "Unmasked"
    return Security(
        namespaces=_namespaces(pod, target_id=target_id),
        run_as_user=user if user is not None else image.uid,
        run_as_username="" if user is not None or image.uid is not None else image.username,
        run_as_group=_first(own.runAsGroup, pods.runAsGroup),
        supplemental_groups=(*supplemental_groups(pod), *groups),
        strict_groups=pods.supplementalGroupsPolicy == "Strict",
        add_capabilities=tuple(_capability(name) for name in capabilities.add or []),
        drop_capabilities=tuple(_capability(name) for name in capabilities.drop or []),
        privileged=privileged,
        readonly_rootfs=bool(own.readOnlyRootFilesystem),
        no_new_privileges=_forbids_escalation(own),
        masked_paths=() if unmasked or privileged else MASKED_PATHS,
        readonly_paths=() if unmasked or privileged else READONLY_PATHS,
        seccomp=_seccomp(own.seccompProfile or pods.seccompProfile, seccomp_root, privileged=privileged),
        apparmor=_apparmor(own.appArmorProfile or pods.appArmorProfile, privileged=privileged),
        selinux=_selinux(own.seLinuxOptions or pods.seLinuxOptions),
    )


def supplemental_groups(pod: core_v1.Pod) -> tuple[int, ...]:
    """Return the groups of all of a pod's processes: supplementalGroups and fsGroup."""
    context = spec_of(pod).securityContext
    if context is None:
        return ()
    groups = list(context.supplementalGroups or [])
    if context.fsGroup is not None:
        groups.append(context.fsGroup)
    return tuple(groups)


def is_privileged(container: ContainerSpec) -> bool:
    """Tell whether a container is privileged."""
    return bool(container.securityContext and container.securityContext.privileged)


def _every(pod: core_v1.Pod) -> list[ContainerSpec]:
    spec = spec_of(pod)
    return [*(spec.initContainers or []), *spec.containers, *(spec.ephemeralContainers or [])]


def _check_non_root(pod: core_v1.Pod, container: ContainerSpec, user: int | None, image: Image) -> None:
    where = f'(pod: "{format_pod(pod)}", container: {container.name})'
    if user is not None:
        if user == 0:
            raise ConfigFailed(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid == 0 or (image.uid is None and not image.username):
        raise ConfigFailed(f"container has runAsNonRoot and image will run as root {where}")
    if image.username:
        raise ConfigFailed(
            f"container has runAsNonRoot and image has non-numeric user ({image.username}), "
            f"cannot verify user is non-root {where}"
        )


def _namespaces(pod: core_v1.Pod, *, target_id: str = "") -> Namespaces:
    spec = spec_of(pod)
    pid = NamespaceMode.CONTAINER
    if spec.hostPID:
        pid = NamespaceMode.NODE
    elif spec.shareProcessNamespace:
        pid = NamespaceMode.POD
    elif target_id:
        pid = NamespaceMode.TARGET
    return Namespaces(
        network=NamespaceMode.NODE if spec.hostNetwork else NamespaceMode.POD,
        pid=pid,
        ipc=NamespaceMode.NODE if spec.hostIPC else NamespaceMode.POD,
        target_id=target_id if pid is NamespaceMode.TARGET else "",
    )


def _capability(name: str) -> str:
    return name.removeprefix("CAP_")


def _forbids_escalation(context: core_v1.SecurityContext) -> bool:
    return context.allowPrivilegeEscalation is False


def _seccomp(profile: core_v1.SeccompProfile | None, root: str, *, privileged: bool) -> Profile:
    if profile is None or privileged:
        return Profile("Unconfined")
    if profile.type == "Localhost":
        return Profile("Localhost", f"{root}/{profile.localhostProfile}")
    return Profile(profile.type)


def _apparmor(profile: core_v1.AppArmorProfile | None, *, privileged: bool) -> Profile | None:
    if profile is None or privileged:
        return None
    return Profile(profile.type, profile.localhostProfile or "")


def _selinux(options: core_v1.SELinuxOptions | None) -> SeLinux | None:
    if options is None:
        return None
    return SeLinux(options.user or "", options.role or "", options.type or "", options.level or "")


def _first(*values: V | None) -> V | None:
    return next((value for value in values if value is not None), None)
