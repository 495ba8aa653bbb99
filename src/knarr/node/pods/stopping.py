"""Ending containers: the hook first, then the signal, all within the grace period.

Source: pkg/kubelet/kuberuntime/kuberuntime_container.go killContainer, executePreStopHook (v1.37).
"""

import asyncio
import contextlib

import msgspec
from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.errors import HookFailed
from knarr.node.pods.hooks import run_hook
from knarr.node.pods.tools import Tools
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Container

MIN_GRACE_S = 2
"""What is left for the signal after a hook that took the whole grace period."""


async def stop_container(
    pod: core_v1.Pod, container: Container, tools: Tools, *, grace_s: int, message: str, ip: str, with_hook: bool
) -> None:
    """End a container; return when it has ended.

    Args:
        pod: Its pod.
        container: What runs.
        tools: The node.
        grace_s: Seconds that hook and container have together.
        message: For the event; empty says that it is stopped.
        ip: The pod's address, for hooks.
        with_hook: Whether its hook is still to be run.

    Raises:
        RuntimeFailure: The runtime could not.
    """
    text = message or f"Stopping container {container.name}"
    tools.tell(pod, "Normal", "Killing", text, container=container.name)
    left_s = grace_s
    hook = _hook_of(pod, container)
    if with_hook and hook is not None and grace_s > 0:
        began_s = tools.clock.monotonic_s()
        await _run_hook(pod, container, hook, tools, grace_s=grace_s, ip=ip)
        left_s = max(MIN_GRACE_S, round(grace_s - (tools.clock.monotonic_s() - began_s)))
    await tools.runtime.stop_container(container.id, timeout_s=left_s)


async def _run_hook(
    pod: core_v1.Pod, container: Container, hook: core_v1.LifecycleHandler, tools: Tools, *, grace_s: int, ip: str
) -> None:
    spec = specs.find_container(pod, container.name) or core_v1.Container(name=container.name)
    try:
        async with asyncio.timeout(grace_s):
            await run_hook(tools.runtime, tools.clock, spec, container.id, hook, ip=ip)
    except HookFailed:
        tools.tell(pod, "Warning", "FailedPreStopHook", "PreStopHook failed", container=container.name)
    except (TimeoutError, RuntimeFailure):
        return


def _hook_of(pod: core_v1.Pod, container: Container) -> core_v1.LifecycleHandler | None:
    spec = specs.find_container(pod, container.name)
    if spec is not None:
        return spec.lifecycle.preStop if spec.lifecycle is not None else None
    with contextlib.suppress(msgspec.DecodeError):
        text = container.annotations.get(specs.PRE_STOP)
        return msgspec.json.decode(text, type=core_v1.LifecycleHandler) if text else None
    return None
