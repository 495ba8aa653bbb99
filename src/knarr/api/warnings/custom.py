"""Warnings about custom objects: finalizers that others may have thought of too.

Source: validateKubeFinalizerName in k8s.io/apiextensions-apiserver/pkg/registry/customresource/validator.go (v1.37).
"""

from typing import Any

from knarr.api import names

Object = dict[str, Any]

_STANDARD = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def custom(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about the finalizers that a write adds.

    Args:
        obj: What will be stored.
        old: What it replaces; None if it is new.
    """
    now, before = ((one or {}).get("metadata", {}).get("finalizers") or () for one in (obj, old))
    found = []
    for finalizer in sorted({*now} - {*before}):
        start = f'metadata.finalizers: "{finalizer}"'
        found += [f"{start}: {complaint}" for complaint in names.qualified_name(finalizer)]
        if "/" not in finalizer and finalizer not in _STANDARD:
            path = " including a path (/)" if "." in finalizer else ""
            found.append(
                f"{start}: prefer a domain-qualified finalizer name{path} to avoid accidental conflicts "
                "with other finalizer writers"
            )
    return found
