"""Who makes a request.

Source: k8s.io/apiserver/pkg/authentication/user (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

ANONYMOUS = "system:anonymous"
ALL_AUTHENTICATED = "system:authenticated"
ALL_UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class User:
    """An authenticated user.

    Attributes:
        name: Such as "system:serviceaccount:ns:name" or a certificate's common name.
        groups: Including system:authenticated.
        uid: May be empty.
        extra: Further facts, such as "authentication.kubernetes.io/pod-name".
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
