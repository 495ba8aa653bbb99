"""The image pull policy that follows from an image's name.

Source: k8s.io/kubernetes/pkg/util/parsers and github.com/distribution/reference: how a name is cut into domain, path, tag
and digest.
"""

import re
from functools import lru_cache

_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_DOMAIN = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?:(?:{_DOMAIN})/)?{_PATH}(?:/{_PATH})*(?::(?P<tag>\w[\w.-]{{0,127}}))?(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{{32,}})?",
    re.ASCII,
)
_IMAGE_ID = re.compile("[a-f0-9]{64}")


@lru_cache(4096)
def pull_policy(image: str) -> str:
    """Return "Always" for the tag latest, named or implied, else "IfNotPresent"; also for names that are none.

    Args:
        image: The reference as the user wrote it, such as "busybox" or "registry:5000/a/b:1@sha256:…".
    """
    match = _REFERENCE.fullmatch(image)
    if match is None or _IMAGE_ID.fullmatch(image):
        return "IfNotPresent"
    tag = match["tag"] or ("" if match["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"
