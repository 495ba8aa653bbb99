"""What a library function is made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Opaque:
    """A value of a type of its own, such as a quantity: two of them are equal if their texts are."""

    type: str
    text: str


@dataclass(frozen=True, slots=True)
class Function:
    """One overload.

    Attributes:
        name: As expressions call it.
        id: Upstream's name of the overload.
        parameters: Names of types, the receiver first: "string", "list<dyn>", "Quantity".
        result: Name of the type of the result.
        implementation: Takes decoded values and `Opaque`s; raises ValueError if there is no result.
        is_member: Whether it is called on a receiver.
    """

    name: str
    id: str
    parameters: tuple[str, ...]
    result: str
    implementation: Callable[..., Any]
    is_member: bool = False


def member(name: str, id: str, parameters: str, result: str, implementation: Callable[..., Any]) -> Function:
    """Make a function that is called on a receiver; `parameters` are separated by blanks."""
    return Function(name, id, tuple(parameters.split()), result, implementation, is_member=True)


def plain(name: str, id: str, parameters: str, result: str, implementation: Callable[..., Any]) -> Function:
    """Make a function that stands alone."""
    return Function(name, id, tuple(parameters.split()), result, implementation)


def is_valid(make: Callable[..., Any]) -> Callable[..., bool]:
    """Return what says whether a value can be made."""

    def check(*arguments: Any) -> bool:
        try:
            make(*arguments)
        except ValueError:
            return False
        return True

    return check
