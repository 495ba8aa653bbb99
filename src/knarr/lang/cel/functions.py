"""Kubernetes' functions as the library takes them: declared by type for the checker, by kind of value for running.

Each module in `libraries` has a tuple of `Function`s. Running knows kinds alone (all opaque values are one), so that overloads of one
kind share an implementation that looks at what it is given.
"""

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from google.protobuf import message_factory

from knarr.lang.cel import descriptors
from knarr.lang.cel.libraries import authorization, lists, maps, network, patches, quantities, text
from knarr.lang.cel.libraries.function import Function, Opaque

ALL: tuple[Function, ...] = (
    *lists.FUNCTIONS, *text.FUNCTIONS, *quantities.FUNCTIONS, *network.FUNCTIONS, *authorization.FUNCTIONS, *patches.FUNCTIONS,
)  # fmt: skip


@cache
def declarations(cel: Any) -> list[Any]:
    """Return the declarations of all functions, for the checker."""
    by_name: dict[str, list[Any]] = {}
    for one in ALL:
        by_name.setdefault(one.name, []).append(
            cel.Overload(
                one.id,
                return_type=_type(cel, one.result),
                parameters=[_type(cel, name) for name in one.parameters],
                is_member=one.is_member,
            )
        )
    return [cel.FunctionDecl(name, overloads) for name, overloads in by_name.items()]


def classes_of(pool: Any) -> dict[str, Any]:
    """Return the messages of opaque values by the names of their types."""
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{descriptors.PACKAGE}.{name}"))
        for name in descriptors.OPAQUE
    }


def implementations(cel: Any, classes: dict[str, Any]) -> list[Any]:
    """Return the functions to run, one for each kind of arguments."""
    grouped: dict[tuple[str, bool, tuple[str, ...]], list[Function]] = {}
    for one in (*ALL, *maps.FUNCTIONS):
        grouped.setdefault((one.name, one.is_member, tuple(map(_kind, one.parameters))), []).append(one)
    by_name: dict[str, list[Any]] = {}
    for (name, is_member, kinds), group in grouped.items():
        by_name.setdefault(name, []).append(
            cel.Overload(
                group[0].id,
                return_type=cel.Type.DYN if len(group) > 1 or "~" in group[0].result else _type(cel, group[0].result),
                parameters=[_type(cel, kind) for kind in kinds],
                is_member=is_member,
                impl=_dispatch(group, classes),
            )
        )
    return [cel.FunctionDecl(name, overloads) for name, overloads in by_name.items()]


def _dispatch(group: list[Function], classes: dict[str, Any]) -> Callable[..., Any]:
    by_types = {tuple(name if name in classes else "" for name in one.parameters): one.implementation for one in group}

    def call(*arguments: Any) -> Any:
        opened = [_open(one, classes) for one in arguments]
        key = tuple(one.type if isinstance(one, Opaque) else "" for one in opened)
        implementation = by_types.get(key)
        if implementation is None:
            raise ValueError("no such overload")
        result = implementation(*opened)
        return classes[result.type](text=result.text) if isinstance(result, Opaque) else result

    return call


def _open(value: Any, classes: dict[str, Any]) -> Any:
    descriptor = getattr(value, "DESCRIPTOR", None)
    if descriptor is not None and descriptor.name in classes and descriptor.full_name.startswith(descriptors.PACKAGE):
        return Opaque(descriptor.name, value.text)
    if isinstance(value, list):
        return [one.plain_value() if hasattr(one, "plain_value") else one for one in value]
    return value


def _kind(name: str) -> str:
    """Return the type that stands for all types of one kind."""
    return descriptors.OPAQUE[0] if name in descriptors.OPAQUE else re.sub(r"~\w+", "dyn", name)


def _type(cel: Any, name: str) -> Any:
    if name in descriptors.OPAQUE:
        return cel.Type(f"{descriptors.PACKAGE}.{name}")
    if name.startswith("~"):
        return cel.Type(name)
    if name.startswith("list<"):
        return cel.Type.List(_type(cel, name[5:-1]))
    if name.startswith("map<"):
        return cel.Type.Map(cel.Type.STRING, _type(cel, name[4:-1]))
    return getattr(cel.Type, name.upper())
