"""projected: several sources in one folder: ConfigMaps, Secrets, the downward API, and service account tokens.

Source: pkg/volume/projected/projected.go (v1.37).
"""

from collections.abc import Sequence

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes import configmap, downwardapi, secret
from knarr.node.volumes.volume import File, Payload, Work

_DEFAULT_EXPIRATION_S = 3600
_PRIVATE = 0o600


async def payload(
    work: Work, sources: Sequence[core_v1.VolumeProjection] | None, *, mode: int, user: int | None = None
) -> Payload:
    """Return the files of all sources; later ones win.

    Args:
        work: The pod.
        sources: What to show.
        mode: Where an item has none.
        user: Owner where an item has none.

    Raises:
        VolumeMissing: A source is missing, or of a kind that this node does not know.
    """
    files: dict[str, File] = {}
    for source in sources or []:
        if source.configMap is not None:
            ref = source.configMap
            files |= await configmap.payload(
                work, ref.name or "", ref.items, optional=ref.optional, mode=mode, user=user
            )
        elif source.secret is not None:
            chosen = source.secret
            files |= await secret.payload(
                work, chosen.name or "", chosen.items, optional=chosen.optional, mode=mode, user=user
            )
        elif source.downwardAPI is not None:
            files |= downwardapi.payload(work, source.downwardAPI.items, mode=mode, user=user)
        elif source.serviceAccountToken is not None:
            files |= await _token(work, source.serviceAccountToken, mode=mode)
        else:
            raise VolumeMissing("this node knows no such projected volume source")
    return files


async def _token(work: Work, source: core_v1.ServiceAccountTokenProjection, *, mode: int) -> Payload:
    token = await work.source.token(source.audience or "", source.expirationSeconds or _DEFAULT_EXPIRATION_S)
    owner = source.user if source.user is not None else common_user(work.pod)
    # Only its one user, or the group beside root, is to read it; a pod without either needs it readable for all.
    private = owner is not None or work.group is not None
    return {source.path: File(token.encode(), _PRIVATE if private else mode, owner)}


def common_user(pod: core_v1.Pod) -> int | None:
    """Return the user that all containers of a pod run as, as far as the spec says so."""
    spec = specs.spec_of(pod)
    default = spec.securityContext.runAsUser if spec.securityContext is not None else None
    users = set()
    for container in specs.all_containers(pod):
        own = container.securityContext.runAsUser if container.securityContext is not None else None
        users.add(default if own is None else own)
    return users.pop() if len(users) == 1 else None
