"""Lifecycle hooks: what is done in or to a container right after its start and right before its end.

Source: pkg/kubelet/lifecycle/handlers.go (v1.37).
"""

from lightkube.models import core_v1

from knarr.kit.clock import Clock
from knarr.kit.http import errors as http_errors
from knarr.node.pods.errors import HookFailed
from knarr.node.pods.spec import ContainerSpec
from knarr.node.probes import ask
from knarr.node.runtime.errors import RuntimeFailure
from knarr.node.runtime.runtime import Runtime

HTTP_TIMEOUT_S = 60.0


async def run_hook(
    runtime: Runtime,
    clock: Clock,
    container: ContainerSpec,
    container_id: str,
    hook: core_v1.LifecycleHandler,
    *,
    ip: str,
) -> None:
    """Run one hook to its end; whoever calls limits its time.

    Args:
        runtime: Runs commands.
        clock: Times sleeps.
        container: The container's spec, for named ports.
        container_id: Its id in the runtime.
        hook: What to do.
        ip: The pod's address.

    Raises:
        HookFailed: The command ended with another code than 0, or the request failed.
    """
    if hook.exec is not None:
        try:
            result = await runtime.exec_sync(container_id, hook.exec.command or [], timeout_s=0)
        except RuntimeFailure as err:
            raise HookFailed(str(err)) from err
        if result.exit_code:
            output = (result.stdout + result.stderr).decode(errors="replace")
            raise HookFailed(f"command {hook.exec.command} exited with {result.exit_code}: {output}")
    elif hook.httpGet is not None:
        request, url = ask.to_request(ask.Target(container, container_id, ip), hook.httpGet)
        request.headers.set("user-agent", "kube-lifecycle/1.37")
        try:
            await ask.get(url, request, timeout_s=HTTP_TIMEOUT_S)
        except http_errors.HttpError as err:
            raise HookFailed(str(err)) from err
    elif hook.sleep is not None:
        await clock.sleep(hook.sleep.seconds)
