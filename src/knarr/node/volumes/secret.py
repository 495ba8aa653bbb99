"""secret: the keys of a Secret as files in memory.

Source: pkg/volume/secret/secret.go (v1.37).
"""

import base64
from collections.abc import Sequence

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes.configmap import choose
from knarr.node.volumes.volume import Payload, Work


async def payload(
    work: Work,
    name: str,
    items: Sequence[core_v1.KeyToPath] | None,
    *,
    optional: bool | None,
    mode: int,
    user: int | None = None,
) -> Payload:
    """Return the files of a Secret; arguments as in `configmap.payload`.

    Raises:
        VolumeMissing: It or a key is missing.
    """
    found = await work.source.secret(name)
    if found is None:
        if optional:
            return {}
        raise VolumeMissing(f'secret "{name}" not found')
    values = {key: base64.b64decode(text) for key, text in (found.data or {}).items()}
    where = f"secret {specs.namespace_of(work.pod)}/{name}"
    return choose(values, items, optional=optional, mode=mode, user=user, where=where)
