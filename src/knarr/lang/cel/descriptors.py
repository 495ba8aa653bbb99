"""Declared types as protobuf messages, which is what the library's checker knows types by.

The messages exist for the checker alone: values of declared objects are maps.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, duration_pb2, struct_pb2, timestamp_pb2

from knarr.lang.cel.declarations import Decl

PACKAGE = "kubernetes"
OPAQUE = (
    "Quantity", "URL", "IP", "CIDR", "Semver", "Authorizer", "PathCheck", "GroupCheck", "ResourceCheck", "Decision",
)  # fmt: skip
"""Values of Kubernetes' libraries: messages with nothing but a text."""
_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = {"bool": _Field.TYPE_BOOL, "int": _Field.TYPE_INT64, "double": _Field.TYPE_DOUBLE, "string": _Field.TYPE_STRING,
            "bytes": _Field.TYPE_BYTES}  # fmt: skip
_WELL_KNOWN = {
    "timestamp": ".google.protobuf.Timestamp",
    "duration": ".google.protobuf.Duration",
    "dyn": ".google.protobuf.Value",
    "null": ".google.protobuf.Value",
}


def new_pool() -> Any:
    """Return a pool with the well-known types and the opaque values."""
    pool = descriptor_pool.DescriptorPool()
    names = []
    for module in (timestamp_pb2, duration_pb2, struct_pb2):
        known = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(known)
        pool.Add(known)
        names.append(known.name)
    file = descriptor_pb2.FileDescriptorProto(name="kubernetes.proto", package=PACKAGE, syntax="proto3")
    for name in OPAQUE:
        message = file.message_type.add(name=name)
        message.field.add(name="text", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
    pool.Add(file)
    return pool


class Messages:
    """Gives each declared object a message.

    Args:
        cel: The library.
        pool: Receives the messages when `close` is called.
    """

    def __init__(self, cel: Any, pool: Any) -> None:
        self._cel = cel
        self._pool = pool
        self._file = descriptor_pb2.FileDescriptorProto(name="declared.proto", package="object", syntax="proto2")
        self._file.dependency.extend(
            ["google/protobuf/timestamp.proto", "google/protobuf/duration.proto", "google/protobuf/struct.proto"]
        )
        self._names: dict[int, str] = {}
        self._keep: list[Decl] = []

    def type_of(self, decl: Decl) -> Any:
        """Return the library's type of a declared one."""
        types = self._cel.Type
        match decl.kind:
            case "list":
                assert decl.element is not None
                return types.List(self.type_of(decl.element))
            case "map":
                assert decl.element is not None
                return types.Map(types.STRING, self.type_of(decl.element))
            case "object":
                return types(self._message(decl).lstrip("."))
            case "opaque":
                return types(f"{PACKAGE}.{decl.opaque}")
            case kind:
                return getattr(types, kind.upper())

    def close(self) -> None:
        """Put the messages into the pool."""
        self._pool.Add(self._file)

    def _message(self, decl: Decl) -> str:
        found = self._names.get(id(decl))
        if found is not None:
            return found
        name = f"Type{len(self._names)}"
        found = self._names[id(decl)] = f".object.{name}"
        self._keep.append(decl)
        message = descriptor_pb2.DescriptorProto(name=name)
        for number, (field, inner) in enumerate(decl.fields.items(), 1):
            self._add_field(message, field, number, inner)
        self._file.message_type.append(message)
        return found

    def _add_field(self, message: Any, name: str, number: int, decl: Decl) -> None:
        if decl.kind == "list" and decl.element is not None and decl.element.kind not in ("list", "map"):
            self._add_plain(message, name, number, decl.element, _Field.LABEL_REPEATED)
        elif decl.kind == "map" and decl.element is not None and decl.element.kind not in ("list", "map"):
            entry = message.nested_type.add(name=f"{_camel(name)}Entry")
            entry.options.map_entry = True
            entry.field.add(name="key", number=1, type=_Field.TYPE_STRING, label=_Field.LABEL_OPTIONAL)
            self._add_plain(entry, "value", 2, decl.element, _Field.LABEL_OPTIONAL)
            full = f"{self._names_path(message)}.{entry.name}"
            message.field.add(
                name=name, number=number, type=_Field.TYPE_MESSAGE, label=_Field.LABEL_REPEATED, type_name=full
            )
        else:
            self._add_plain(message, name, number, decl, _Field.LABEL_OPTIONAL)

    def _names_path(self, message: Any) -> str:
        return f".object.{message.name}"

    def _add_plain(self, message: Any, name: str, number: int, decl: Decl, label: Any) -> None:
        scalar = _SCALARS.get(decl.kind)
        if scalar is not None:
            message.field.add(name=name, number=number, type=scalar, label=label)
            return
        # Lists of lists, and maps of them, are more than a message can say: they are not checked.
        type_name = self._message(decl) if decl.kind == "object" else _WELL_KNOWN.get(decl.kind, _WELL_KNOWN["dyn"])
        message.field.add(name=name, number=number, type=_Field.TYPE_MESSAGE, label=label, type_name=type_name)


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))
