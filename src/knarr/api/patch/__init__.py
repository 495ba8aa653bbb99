"""Patches: what a PATCH request makes of an object, one function a media type.

None of them changes its arguments; results share what did not change with the original. Server-side apply has a package
of its own, `api.managedfields`.
"""

from knarr.api.patch.json_patch import json_patch
from knarr.api.patch.merge import merge_patch
from knarr.api.patch.strategic import strategic_merge_patch

__all__ = ["json_patch", "merge_patch", "strategic_merge_patch"]
