"""What the schema says of one place in an object: the value's type, and how lists and maps merge there."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

Kind = Literal["object", "map", "list", "scalar", "quantity", "intstr", "time", "any"]

_NO_FIELDS: Final[Mapping[str, "Type"]] = {}


class Type:
    """A place: a definition at the root, a field, a list element or a map value. Shared and never changed once made.

    Attributes:
        kind: "object" has `fields`, "map" and "list" have an `element`; "any" holds whatever JSON holds.
        scalar: The Go type of a scalar: "string", "int32", "int64", "float64", "bool" or "[]uint8" (base64 text); for a
            time "Time" or "MicroTime"; otherwise "".
        name: Key of the definition of an object, quantity, …; "" for anonymous ones.
        element: Type of the elements or values.
        required: Whether Go writes the field even if it is empty.
        pointer: Whether an empty value differs from an absent one.
        patch_strategy: "merge", "replace", "retainKeys" or several joined by commas; "" means none.
        patch_merge_key: Which field tells elements apart in a strategic merge.
        list_type: "atomic", "set" or "map"; "" means atomic.
        list_map_keys: Which fields tell elements of a "map" list apart.
        map_type: "atomic" or "granular"; "" means granular.
        default: What an absent field means, None if nothing.
        preserve_unknown: Whether fields that are not in `fields` are kept without a word.
        go_name: The named Go type, such as "v1.PullPolicy", or "".
    """

    __slots__ = (
        "_expand", "_fields", "_ordered", "default", "element", "go_name", "kind", "list_map_keys", "list_type", "map_type",
        "name", "patch_merge_key", "patch_strategy", "pointer", "preserve_unknown", "required", "scalar",
    )  # fmt: skip

    def __init__(
        self,
        kind: Kind,
        *,
        scalar: str = "",
        name: str = "",
        expand: Callable[[], Mapping[str, "Type"]] | None = None,
        element: "Type | None" = None,
        required: bool = False,
        pointer: bool = False,
        patch_strategy: str = "",
        patch_merge_key: str = "",
        list_type: str = "",
        list_map_keys: tuple[str, ...] = (),
        map_type: str = "",
        default: Any = None,
        preserve_unknown: bool = False,
        go_name: str = "",
    ) -> None:
        self.kind: Final = kind
        self.scalar: Final = scalar
        self.name: Final = name
        self.element: Final = element
        self.required: Final = required
        self.pointer: Final = pointer
        self.patch_strategy: Final = patch_strategy
        self.patch_merge_key: Final = patch_merge_key
        self.list_type: Final = list_type
        self.list_map_keys: Final = list_map_keys
        self.map_type: Final = map_type
        self.default: Final = default
        self.preserve_unknown: Final = preserve_unknown
        self.go_name: Final = go_name
        self._expand = expand
        self._fields: Mapping[str, Type] | None = None
        self._ordered: tuple[tuple[str, Type], ...] | None = None

    @property
    def fields(self) -> Mapping[str, "Type"]:
        """The fields of an object, compiled at the first look; empty for other kinds."""
        found = self._fields
        if found is None:
            found = self._fields = self._expand() if self._expand is not None else _NO_FIELDS
        return found

    @property
    def always(self) -> tuple[tuple[str, "Type"], ...]:
        """The fields that Go writes even if they are absent from what it read."""
        found = self._ordered
        if found is None:
            found = self._ordered = tuple((name, field) for name, field in self.fields.items() if field.required)
        return found

    @property
    def short_name(self) -> str:
        """The Go name of the type: "PodSpec" of "io.k8s.api.core.v1.PodSpec"."""
        return self.name.rpartition(".")[2]

    @property
    def is_atomic(self) -> bool:
        """Whether the value has one owner and is replaced as a whole (server-side apply)."""
        if self.kind == "list":
            return self.list_type in ("", "atomic")
        return self.kind not in ("object", "map") or self.map_type == "atomic"

    def go_type(self) -> str:
        """Return the Go type as error messages print it: "int32", "[]v1.Container", "map[string]string"."""
        if self.go_name:
            return self.go_name
        if self.kind == "list" and self.element is not None:
            return f"[]{self.element.go_type()}"
        if self.kind == "map" and self.element is not None:
            return f"map[string]{self.element.go_type()}"
        if self.name:
            return ".".join(self.name.rsplit(".", 2)[-2:])
        return self.scalar or "interface {}"

    def __repr__(self) -> str:
        return f"Type({self.go_type()})"
