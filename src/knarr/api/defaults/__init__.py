"""Default values of every built-in kind: what upstream's SetDefaults_* functions write into an object before admission.

`apply` changes the object in place; the table in `table.py` says which function belongs to which kind.
"""

from typing import Any, Protocol

from knarr.api.defaults.table import TABLE


class Kind(Protocol):
    """The part of `api.scheme.Resource` that is looked at here."""

    @property
    def group(self) -> str:
        """The API group, "" for core."""

    @property
    def version(self) -> str:
        """The version in the group."""

    @property
    def kind(self) -> str:
        """The kind."""


def apply(resource: Kind, obj: dict[str, Any]) -> None:
    """Set the defaults of a built-in kind; other kinds are left as they are.

    Args:
        resource: Which kind the object is of.
        obj: The decoded and schema-checked object; changed in place.

    Source: k8s.io/kubernetes/pkg/apis/*/v*/defaults.go (v1.37).
    """
    function = TABLE.get((resource.group, resource.kind))
    if function is not None:
        function(obj)
