"""Quantities such as "1.5Gi": compared and added without loss.

Source: k8s.io/apiserver/pkg/cel/library/quantity.go; k8s.io/apimachinery/pkg/api/resource.
"""

import re
from fractions import Fraction

from knarr.lang.cel.libraries.function import Function, Opaque, is_valid, member, plain

_FORM = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)?|[eE]([+-]?\d{1,3}))", re.ASCII)
_DECIMAL = {"n": -3, "u": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5, "E": 6}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_MAX_CHARS = 256
_WRONG = r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"


def to_quantity(text: str) -> Opaque:
    """Return a quantity as a value; raises ValueError if it is none."""
    match = _FORM.fullmatch(text) if len(text) <= _MAX_CHARS else None
    if match is None:
        raise ValueError(_WRONG)
    number = Fraction(match[1])
    suffix, exponent = match[2] or "", match[3]
    if exponent:
        number *= Fraction(10) ** int(exponent)
    elif suffix in _BINARY:
        number *= Fraction(1024) ** _BINARY[suffix]
    else:
        number *= Fraction(1000) ** _DECIMAL[suffix]
    return Opaque("Quantity", str(number))


def _to_int(one: Opaque) -> int:
    number = Fraction(one.text)
    if not _is_int(one):
        raise ValueError("cannot convert value to integer")
    return int(number)


def _is_int(one: Opaque) -> bool:
    number = Fraction(one.text)
    return number.denominator == 1 and -(2**63) <= number < 2**63


def _compare(one: Opaque, two: Opaque) -> int:
    left, right = Fraction(one.text), Fraction(two.text)
    return (left > right) - (left < right)


def _add(one: Opaque, two: Opaque | int) -> Opaque:
    other = Fraction(two.text) if isinstance(two, Opaque) else two
    return Opaque("Quantity", str(Fraction(one.text) + other))


def _sub(one: Opaque, two: Opaque | int) -> Opaque:
    other = Fraction(two.text) if isinstance(two, Opaque) else two
    return Opaque("Quantity", str(Fraction(one.text) - other))


def _sign(one: Opaque) -> int:
    number = Fraction(one.text)
    return (number > 0) - (number < 0)


_TWO = "Quantity Quantity"
FUNCTIONS: tuple[Function, ...] = (
    plain("quantity", "string_to_quantity", "string", "Quantity", to_quantity),
    plain("isQuantity", "is_quantity_string", "string", "bool", is_valid(to_quantity)),
    member("sign", "quantity_sign", "Quantity", "int", _sign),
    member("isInteger", "quantity_is_integer", "Quantity", "bool", _is_int),
    member("asInteger", "quantity_get_int", "Quantity", "int", _to_int),
    member("asApproximateFloat", "quantity_get_float", "Quantity", "double", lambda one: float(Fraction(one.text))),
    member("add", "quantity_add", _TWO, "Quantity", _add),
    member("add", "quantity_add_int", "Quantity int", "Quantity", _add),
    member("sub", "quantity_sub", _TWO, "Quantity", _sub),
    member("sub", "quantity_sub_int", "Quantity int", "Quantity", _sub),
    member("isLessThan", "quantity_is_less_than", _TWO, "bool", lambda one, two: _compare(one, two) < 0),
    member("isGreaterThan", "quantity_is_greater_than", _TWO, "bool", lambda one, two: _compare(one, two) > 0),
    member("compareTo", "quantity_compare_to", _TWO, "int", _compare),
)
