"""Owner references: who controls whom.

Source: k8s.io/apimachinery/pkg/apis/meta/v1/controller_ref.go (v1.37).
"""

from collections.abc import Iterable
from typing import Any

from lightkube.models import meta_v1

from knarr.client import kinds

INDEX = "controller uid"
"""Name of the index that `by_controller` is for."""


def controller_reference(owner: Any) -> meta_v1.OwnerReference:
    """Return the reference that makes `owner` the controller of an object; the owner's deletion in the foreground waits for it."""
    api_version, kind = kinds.gvk(type(owner))
    meta = owner.metadata
    return meta_v1.OwnerReference(
        apiVersion=api_version, kind=kind, name=meta.name, uid=meta.uid, controller=True, blockOwnerDeletion=True
    )


def controller_of(obj: Any) -> meta_v1.OwnerReference | None:
    """Return the reference to the object's controller, or None."""
    references = (obj.metadata.ownerReferences if obj.metadata else None) or ()
    return next((one for one in references if one.controller), None)


def is_controlled_by(obj: Any, owner: Any) -> bool:
    """Tell whether `owner` is the controller of `obj`."""
    reference = controller_of(obj)
    return reference is not None and reference.uid == owner.metadata.uid


def by_controller(obj: Any) -> Iterable[str]:
    """Index objects by the uid of their controller; those without one under ""."""
    reference = controller_of(obj)
    return (reference.uid if reference is not None else "",)
