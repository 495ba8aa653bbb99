"""Lists: order, sums, positions; and lists taken as sets.

Source: k8s.io/apiserver/pkg/cel/library/lists.go; cel-go ext/sets.go.
"""

import itertools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from knarr.lang.cel.libraries.function import member, plain


def _is_sorted(items: list[Any]) -> bool:
    try:
        return all(one <= two for one, two in itertools.pairwise(items))
    except TypeError:
        raise ValueError("no such overload") from None


def _sum(items: list[Any]) -> Any:
    if not items:
        return 0
    try:
        return sum(items[1:], start=items[0]) if not isinstance(items[0], timedelta) else sum(items, timedelta())
    except TypeError:
        raise ValueError("no such overload") from None


def _extreme(name: str, choose: Callable[[list[Any]], Any]) -> Callable[[list[Any]], Any]:
    def find(items: list[Any]) -> Any:
        if not items:
            raise ValueError(f"{name} called on empty list")
        try:
            return choose(items)
        except TypeError:
            raise ValueError("no such overload") from None

    return find


def _is_same(one: Any, two: Any) -> bool:
    return bool(one == two) and isinstance(one, bool) is isinstance(two, bool)


def _index(items: list[Any], wanted: Any) -> int:
    return next((index for index, one in enumerate(items) if _is_same(one, wanted)), -1)


def _last_index(items: list[Any], wanted: Any) -> int:
    return next((index for index in range(len(items) - 1, -1, -1) if _is_same(items[index], wanted)), -1)


def _contains(items: list[Any], others: list[Any]) -> bool:
    return all(_index(items, one) >= 0 for one in others)


FUNCTIONS = (
    member("isSorted", "list_is_sorted", "list<~A>", "bool", _is_sorted),
    member("sum", "list_sum", "list<~A>", "~A", _sum),
    member("min", "list_min", "list<~A>", "~A", _extreme("min", min)),
    member("max", "list_max", "list<~A>", "~A", _extreme("max", max)),
    member("indexOf", "list_index_of", "list<~A> ~A", "int", _index),
    member("lastIndexOf", "list_last_index_of", "list<~A> ~A", "int", _last_index),
    plain("sets.contains", "list_sets_contains_list", "list<~A> list<~A>", "bool", _contains),
    plain(
        "sets.equivalent",
        "list_sets_equivalent_list",
        "list<~A> list<~A>",
        "bool",
        lambda one, two: _contains(one, two) and _contains(two, one),
    ),
    plain(
        "sets.intersects",
        "list_sets_intersects_list",
        "list<~A> list<~A>",
        "bool",
        lambda one, two: any(_index(one, item) >= 0 for item in two),
    ),
)
