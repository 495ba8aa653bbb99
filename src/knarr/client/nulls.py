"""Answers of servers that leave out, or give as null, what the models say is always there.

Go's clients never notice: a slice that is null or absent is an empty one, a number is 0. Older API servers send such, as v1.20 does with
`CSINode.spec.drivers`. Looked at only when an answer does not fit its model as it is.

Source: encoding/json's treatment of null (Go 1.24, func Unmarshal).
"""

from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

T = TypeVar("T")


class Decoder(Generic[T]):
    """Decodes JSON into a type; null and absent values become Go's zero values where nothing else fits.

    Args:
        python_type: The type.
    """

    def __init__(self, python_type: Any) -> None:
        self._type = python_type
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(python_type)

    def decode(self, data: bytes | msgspec.Raw) -> T:
        """Decode a value.

        Raises:
            DecodeError: it is no JSON, or does not fit the type.
        """
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError:
            filled = fill(msgspec.json.decode(data), inspect.type_info(self._type))
            found: T = msgspec.convert(filled, self._type)
            return found


def fill(value: Any, expected: inspect.Type) -> Any:
    """Return a decoded value with zero values for the nulls and the missing parts that `expected` does not allow."""
    if isinstance(expected, inspect.UnionType):
        if value is None and expected.includes_none:
            return None
        expected = next(one for one in expected.types if not isinstance(one, inspect.NoneType))
    if value is None:
        value = _zero(expected)
    if isinstance(expected, inspect.StructType) and isinstance(value, dict):
        for field in expected.fields:
            name = field.encode_name
            if name in value or field.required:
                value[name] = fill(value.get(name), field.type)
    elif isinstance(expected, inspect.ListType) and isinstance(value, list):
        return [fill(one, expected.item_type) for one in value]
    elif isinstance(expected, inspect.DictType) and isinstance(value, dict):
        return {key: fill(one, expected.value_type) for key, one in value.items()}
    return value


def _zero(expected: inspect.Type) -> Any:
    zeros: dict[type[inspect.Type], Any] = {inspect.StrType: "", inspect.IntType: 0, inspect.BoolType: False}
    if isinstance(expected, inspect.ListType):
        return []
    if isinstance(expected, inspect.DictType | inspect.StructType):
        return {}
    return 0.0 if isinstance(expected, inspect.FloatType) else zeros.get(type(expected))
