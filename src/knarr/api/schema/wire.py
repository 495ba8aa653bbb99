"""What the OpenAPI definitions leave out of Go's types: which fields are pointers, which are always written, named types.

Go drops an empty value on writing if the field is no pointer, and always writes structs that are no pointers; both shows in
what clients read back. The facts are those of Go's struct tags, from `messages`; of fields that it does not have (what v1.37
added to v1.36, mostly alpha) the schema alone tells. One thing differs on purpose: where Go writes null for a pointer, list or
map that has to be written, the field is left out, which says the same.

Source: the struct tags of k8s.io/api, k8s.io/apimachinery and k8s.io/apiextensions-apiserver.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from knarr.api.schema import messages
from knarr.api.schema.messages import Field
from knarr.api.schema.types import Kind

EMPTY_STRUCTS: Final = frozenset(
    {
        "io.k8s.api.apiserverinternal.v1alpha1.StorageVersionSpec",
        "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceSubresourceStatus",
    }
)
# A list's keys that may be absent from its elements, and what they mean then.
_DEFAULTS: Final = {("ContainerPort", "protocol"): "TCP", ("ServicePort", "protocol"): "TCP"}
# Tagged omitzero: no pointer and yet left out while unset.
_OMIT_ZERO: Final = {("ObjectMeta", "creationTimestamp")}
_STRUCTS: Final = frozenset({"object", "quantity", "intstr", "time"})


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one field besides its schema.

    Attributes:
        always: Whether Go writes it even if it is absent or empty.
        pointer: Whether an empty value differs from an absent one.
        default: What an absent list key means.
        go_name: The named Go type: of a scalar, of a list's elements or of a map; otherwise "".
    """

    always: bool
    pointer: bool
    default: Any = None
    go_name: str = ""


def of_field(owner: str, name: str, kind: Kind, scalar: str, *, required: bool) -> Facts:
    """Return what is known of a field.

    Args:
        owner: The definition it is in, such as "io.k8s.api.core.v1.PodSpec"; "" if it is none of ours.
        name: JSON name.
        kind: The kind of its type.
        scalar: The Go type of a scalar.
        required: Whether the schema requires it.
    """
    struct = owner.rpartition(".")[2]
    default = _DEFAULTS.get((struct, name))
    field = _fields(owner.removeprefix("io.k8s.")).get(name)
    if field is None:
        return Facts(required, _is_pointer(kind, scalar, required=required), default)
    if field.label or scalar == "[]uint8" or kind == "any":
        return Facts(field.is_always, kind == "any", default, field.go_name)
    always = not field.is_pointer and (field.is_always or kind in _STRUCTS) and (struct, name) not in _OMIT_ZERO
    return Facts(always, field.is_pointer or kind != "scalar", default, field.go_name)


def _is_pointer(kind: Kind, scalar: str, *, required: bool) -> bool:
    if kind == "scalar":
        return not required and scalar not in ("string", "[]uint8")
    return kind in _STRUCTS or kind == "any"


@cache
def _fields(message: str) -> Mapping[str, Field]:
    """Return the fields of a Go struct by JSON name, those of embedded structs among them."""
    if message not in messages.lines():
        return {}
    found: dict[str, Field] = {}
    for field in messages.fields(message):
        if field.name:
            found[field.name] = field
        else:
            found.update(_fields(field.type))
    return found
