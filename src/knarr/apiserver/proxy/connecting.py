"""Admission of what connects to something: exec, attach, port-forward, proxies.

Upstream counterpart: registry/rest Connecter and endpoints/handlers ConnectResource.
"""

from typing import Any

from knarr.apiserver.admission.chain import CONNECT, AdmissionRequest
from knarr.apiserver.parts import Call, Parts, Target


async def admit(parts: Parts, call: Call, target: Target, subresource: str, options: dict[str, Any]) -> None:
    """Let the admission plugins say no.

    Args:
        parts: The API server.
        call: The request.
        target: What it connects to.
        subresource: Such as "exec".
        options: The options of the kind that upstream decodes the query into, such as PodExecOptions.

    Raises:
        Forbidden: a plugin refuses.
    """
    request = AdmissionRequest(
        CONNECT,
        target.resource,
        subresource,
        target.namespace,
        target.name,
        options,
        None,
        call.user,
        warnings=call.warnings,
        annotations=call.annotations,
    )
    await parts.chain.admit(request)
    await parts.chain.validate(request)
