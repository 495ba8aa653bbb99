"""configMap: the keys of a ConfigMap as files.

Source: pkg/volume/configmap/configmap.go (v1.37).
"""

import base64
from collections.abc import Sequence

from lightkube.models import core_v1

from knarr.node.pods import spec as specs
from knarr.node.pods.errors import VolumeMissing
from knarr.node.volumes.volume import File, Payload, Work


async def payload(
    work: Work,
    name: str,
    items: Sequence[core_v1.KeyToPath] | None,
    *,
    optional: bool | None,
    mode: int,
    user: int | None = None,
) -> Payload:
    """Return the files of a ConfigMap.

    Args:
        work: The pod.
        name: Of the ConfigMap.
        items: Which keys to which paths; None means all, each by its name.
        optional: Whether it, and its keys, may be missing.
        mode: Where an item has none.
        user: Owner where an item has none.

    Raises:
        VolumeMissing: It or a key is missing.
    """
    found = await work.source.config_map(name)
    if found is None:
        if optional:
            return {}
        raise VolumeMissing(f'configmap "{name}" not found')
    values = {key: text.encode() for key, text in (found.data or {}).items()}
    values |= {key: base64.b64decode(text) for key, text in (found.binaryData or {}).items()}
    where = f"configmap {specs.namespace_of(work.pod)}/{name}"
    return choose(values, items, optional=optional, mode=mode, user=user, where=where)


def choose(
    values: dict[str, bytes],
    items: Sequence[core_v1.KeyToPath] | None,
    *,
    optional: bool | None,
    mode: int,
    user: int | None,
    where: str,
) -> Payload:
    """Return the files of the chosen keys."""
    if not items:
        return {key: File(data, mode, user) for key, data in values.items()}
    files = {}
    for item in items:
        if item.key not in values:
            if optional:
                continue
            raise VolumeMissing(f"{where.split()[0]} references non-existent config key: {item.key}")
        owner = user if item.user is None else item.user
        files[item.path] = File(values[item.key], mode if item.mode is None else item.mode, owner)
    return files
