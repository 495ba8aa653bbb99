"""Why a pod, service, claim or deployment is not as it should be: read from the API, told for people and as JSON.

`explain(client, kind, namespace, name)` gives an `Answer`; nothing is written. Dashboards use it as a library, `knarr why` prints it.
"""

from collections.abc import Awaitable, Callable, Mapping

from knarr.client import Client
from knarr.scheduler.why import claims, deployments, pods, services
from knarr.scheduler.why.answer import Answer, Finding

KINDS: Mapping[str, Callable[[Client, str, str], Awaitable[Answer]]] = {
    "pod": pods.explain,
    "service": services.explain,
    "pvc": claims.explain,
    "deployment": deployments.explain,
}
"""What can be asked about."""
ALIASES: Mapping[str, str] = {
    **dict.fromkeys(("po", "pods"), "pod"),
    **dict.fromkeys(("svc", "services"), "service"),
    **dict.fromkeys(("persistentvolumeclaim", "persistentvolumeclaims", "claim"), "pvc"),
    **dict.fromkeys(("deploy", "deployments", "deployment.apps", "deployments.apps"), "deployment"),
}

__all__ = ["ALIASES", "KINDS", "Answer", "Finding", "explain"]


async def explain(client: Client, kind: str, namespace: str, name: str) -> Answer:
    """Say why an object is not as it should be.

    Args:
        client: Reads.
        kind: One of `KINDS` or `ALIASES`.
        namespace: Where it is.
        name: Its name.

    Raises:
        NotFound: there is none.
        KeyError: of such a kind nothing is known.
    """
    return await KINDS[ALIASES.get(kind, kind)](client, namespace, name)
