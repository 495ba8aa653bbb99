"""What Go's structs and the protobuf messages made of them say of each field: `messages.txt`, parsed line by line on demand.

`scripts/protobuf-table` makes the file; its first lines tell its form.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final, Literal

from knarr.api import scheme_table

META = "apimachinery.pkg.apis.meta.v1"
_META_BETA = "apimachinery.pkg.apis.meta.v1beta1"
TYPE_META = "apimachinery.pkg.runtime.TypeMeta"
_ROOT = "io.k8s."
_EVERYWHERE = {"CreateOptions", "DeleteOptions", "GetOptions", "ListOptions", "PatchOptions", "UpdateOptions"}
"""Kinds that are known in every version of every group."""

Label = Literal["", "[]", "{}"]


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message.

    Attributes:
        number: Its number on the wire.
        name: Its name in JSON; "" if the fields of its message are the parent's own.
        type: A scalar or special type, or the whole name of a message.
        label: "[]" for lists, "{}" for maps from strings, otherwise "".
        is_pointer: Whether an empty value differs from an absent one.
        is_always: Whether Go writes it to JSON even if it is empty.
        go_name: The named Go type of a scalar, of a list's elements or of a map, such as "v1.PullPolicy"; otherwise "".
    """

    number: int
    name: str
    type: str
    label: Label
    is_pointer: bool
    is_always: bool
    go_name: str


STRINGS: Final = (Field(1, "items", "string", "[]", False, False, ""),)
"""The fields of a message that is a list of strings in JSON."""


@cache
def lines() -> Mapping[str, str]:
    """Return the line of each message by its whole name, such as "api.core.v1.Pod"."""
    found: dict[str, str] = {}
    package = ""
    text = resources.files(__package__).joinpath("messages.txt").read_text()
    for line in text.splitlines():
        if line.startswith("["):
            package = line[1:-1]
        elif line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            found[f"{package}.{name}"] = rest
    return found


def fields(message: str) -> tuple[Field, ...]:
    """Return the fields of a message, ascending by number.

    Raises:
        KeyError: there is none of that name.
    """
    text = lines()[message]
    if text.startswith("="):
        return STRINGS
    package = message.rpartition(".")[0]
    return tuple(_field(package, word) for word in text.split())


def message_of(api_version: str, kind: str) -> str | None:
    """Return the name of the message of a kind, None if it has none (custom resources, tables)."""
    package = _packages().get(api_version)
    if package is not None and f"{package}.{kind}" in lines():
        return f"{package}.{kind}"
    is_meta = api_version in ("", "v1") or package in (META, _META_BETA)
    if kind in _EVERYWHERE or (is_meta and f"{META}.{kind}" in lines()):
        return f"{META}.{kind}"
    return None


@cache
def _packages() -> Mapping[str, str]:
    found = {"meta.k8s.io/v1": META, "meta.k8s.io/v1beta1": _META_BETA}
    for package in {message.rpartition(".")[0] for message in lines()}:
        version = package.rpartition(".")[2]
        name = _groups().get(package.removeprefix("api.").partition(".")[0])
        if package.startswith("api.") and name is not None:
            found[f"{name}/{version}"] = package
    for group in scheme_table.GROUPS:
        api_version = f"{group.name}/{group.version}" if group.name else group.version
        found[api_version] = group.package.removeprefix(_ROOT)
    return found


def _groups() -> Mapping[str, str]:
    """Return the name of each group by its Go package, such as "rbac"."""
    return {group.package.split(".")[3]: group.name for group in scheme_table.GROUPS if group.name}


def _field(package: str, word: str) -> Field:
    word, _, go_name = word.partition("=")
    digits, name, type_ = word.split(":")
    label: Label = "[]" if type_.startswith("[]") else "{}" if type_.startswith("{}") else ""
    type_ = type_.removeprefix(label)
    is_pointer, type_ = type_.startswith("*"), type_.removeprefix("*")
    is_always, type_ = type_.startswith("!"), type_.removeprefix("!")
    if f"{package}.{type_}" in lines():
        type_ = f"{package}.{type_}"
    return Field(int(digits), name, type_, label, is_pointer, is_always, go_name)
