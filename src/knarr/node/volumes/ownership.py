"""fsGroup: giving a volume's files to a group.

Source: pkg/volume/volume_linux.go (v1.37): masks, and the root that tells whether it was done before.
"""

import os
import stat
from pathlib import Path

_FILE_BITS = 0o660
_FOLDER_BITS = stat.S_ISGID | 0o770


def give_to_group(root: Path, group: int, *, only_on_mismatch: bool) -> None:
    """Make a group own everything in a volume, and let it read and write.

    Args:
        root: The volume.
        group: The pod's fsGroup.
        only_on_mismatch: Leave everything as it is if the root is right already (fsGroupChangePolicy OnRootMismatch).
    """
    info = root.stat()
    if only_on_mismatch and info.st_gid == group and info.st_mode & _FOLDER_BITS == _FOLDER_BITS:
        return
    for folder, _, names in os.walk(root, topdown=False):
        for name in names:
            _change(os.path.join(folder, name), group, _FILE_BITS)
        _change(folder, group, _FOLDER_BITS)


def _change(path: str, group: int, bits: int) -> None:
    info = os.lstat(path)
    os.lchown(path, -1, group)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(path, stat.S_IMODE(info.st_mode) | bits)
