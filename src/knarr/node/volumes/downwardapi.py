"""downwardAPI: what the pod is, as files.

Source: pkg/volume/downwardapi/downwardapi.go (v1.37).
"""

from collections.abc import Sequence

from lightkube.models import core_v1

from knarr.node.pods.env import field_value, resource_value
from knarr.node.pods.errors import ConfigFailed, VolumeMissing
from knarr.node.volumes.volume import File, Payload, Work


def payload(
    work: Work, items: Sequence[core_v1.DownwardAPIVolumeFile] | None, *, mode: int, user: int | None = None
) -> Payload:
    """Return the files.

    Args:
        work: The pod.
        items: Which fields to which paths.
        mode: Where an item has none.
        user: Owner where an item has none.

    Raises:
        VolumeMissing: There is no such field or container.
    """
    files = {}
    for item in items or []:
        try:
            if item.fieldRef is not None:
                text = field_value(work.pod, item.fieldRef.fieldPath, work.facts)
            elif item.resourceFieldRef is not None:
                text = resource_value(work.pod, item.resourceFieldRef, work.facts)
            else:
                continue
        except ConfigFailed as err:
            raise VolumeMissing(err.message) from err
        owner = user if item.user is None else item.user
        files[item.path] = File(text.encode(), mode if item.mode is None else item.mode, owner)
    return files
