"""Declared types of variables, and how large their values can be.

Source: DeclType in k8s.io/apiserver/pkg/cel/types.go (v1.37).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal[
    "dyn",
    "bool",
    "int",
    "double",
    "string",
    "bytes",
    "timestamp",
    "duration",
    "list",
    "map",
    "object",
    "null",
    "opaque",
]

UNBOUNDED = -1
IS_THERE, VALUE = "__is_there__", "__value__"
"""What follows the name of an optional variable in the two plain ones that stand for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Decl:
    """A declared type.

    Attributes:
        kind: What it is; "dyn" is not checked.
        fields: The fields of an object by their escaped names.
        names: The names of these fields in JSON, by escaped name.
        element: Type of the elements of a list or the values of a map.
        size: Most elements of a list or map, most bytes of a string; UNBOUNDED if only a request's size bounds it.
        is_optional: Whether the value is wrapped in an optional.
        opaque: The type of an opaque value, such as "Authorizer"; its values are `libraries.function.Opaque`s.
    """

    kind: Kind
    fields: Mapping[str, "Decl"] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    element: "Decl | None" = None
    size: int = UNBOUNDED
    is_optional: bool = False
    opaque: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether JSON values of this type are taken as they are."""
        if self.kind in ("double", "timestamp", "duration", "bytes", "int"):
            return self.kind == "int"
        if any(escaped != name for escaped, name in self.names.items()):
            return False
        return all(one.is_plain for one in self.fields.values()) and (self.element is None or self.element.is_plain)


DYN, BOOL, INT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION, NULL = (
    Decl("dyn"), Decl("bool"), Decl("int"), Decl("double"), Decl("string"), Decl("bytes"), Decl("timestamp"), Decl("duration"),
    Decl("null"),
)  # fmt: skip
