"""Arguments of plugins, as pluginConfig gives them, read and checked.

Source: pkg/scheduler/apis/config/types_pluginargs.go and validation (v1.37).
"""

import importlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from lightkube.models import core_v1

from knarr.scheduler.errors import BadConfiguration
from knarr.scheduler.podfacts import CPU, MEMORY

T = TypeVar("T")

LEAST, MOST, RATIO = "LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"
MAX_RATIO_SCORE = 10
"""The shape of RequestedToCapacityRatio gives 0 to this; scores are 0 to 100."""
Resources = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class Strategy:
    """How NodeResourcesFit scores.

    Attributes:
        type: One of the three.
        resources: Which, with their weights.
        shape: For the ratio: utilization in percent and score, ascending.
    """

    type: str = LEAST
    resources: Resources = ((CPU, 1), (MEMORY, 1))
    shape: Sequence[tuple[int, int]] = ()


def strategy(given: Mapping[str, Any]) -> Strategy:
    """Read `scoringStrategy` of NodeResourcesFitArgs."""
    found = mapping(given, "scoringStrategy")
    if not found:
        return Strategy()
    kind = found.get("type") or LEAST
    if kind not in (LEAST, MOST, RATIO):
        raise BadConfiguration("scoringStrategy.type", f"{kind!r}: expected {LEAST}, {MOST} or {RATIO}")
    shape: list[tuple[int, int]] = []
    if kind == RATIO:
        points = mapping(found, "requestedToCapacityRatio").get("shape") or []
        shape = [
            (integer(p, "utilization", 0, lowest=0, highest=100), integer(p, "score", 0, lowest=0, highest=10))
            for p in points
        ]
        if not shape or any(one[0] >= two[0] for one, two in itertools.pairwise(shape)):
            raise BadConfiguration(
                "scoringStrategy.requestedToCapacityRatio.shape", "expected points with growing utilization"
            )
    return Strategy(kind, resources(found.get("resources")), shape)


def resources(given: Any) -> Resources:
    """Read a list of resources with weights; CPU and memory if there is none."""
    if not given:
        return Strategy().resources
    if not isinstance(given, list) or not all(isinstance(one, dict) and one.get("name") for one in given):
        raise BadConfiguration("resources", "expected a list of objects with a name")
    return [(str(one["name"]), integer(one, "weight", 1, lowest=1, highest=100)) for one in given]


def ignored(given: Mapping[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    """Read which extended resources, and which groups of them, NodeResourcesFit does not look at."""
    return frozenset(given.get("ignoredResources") or ()), frozenset(given.get("ignoredResourceGroups") or ())


def spread_defaults(given: Mapping[str, Any]) -> Sequence[core_v1.TopologySpreadConstraint] | None:
    """Read the default constraints of PodTopologySpreadArgs; None means upstream's."""
    kind = given.get("defaultingType") or "System"
    listed = given.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        raise BadConfiguration("defaultingType", f"{kind!r}: expected System or List")
    if kind == "System":
        if listed:
            raise BadConfiguration("defaultConstraints", "must be empty unless defaultingType is List")
        return None
    found: list[core_v1.TopologySpreadConstraint] = _convert(
        listed, list[core_v1.TopologySpreadConstraint], "defaultConstraints"
    )
    return found


def typed(given: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Read an argument that is an object of the API."""
    return _convert(given[name], kind, name) if given.get(name) else None


def integer(given: Mapping[str, Any], name: str, default: int, *, lowest: int, highest: int = 2**31 - 1) -> int:
    """Read a number within bounds."""
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
        raise BadConfiguration(name, f"{value!r}: expected a whole number from {lowest} to {highest}")
    return value


def boolean(given: Mapping[str, Any], name: str) -> bool:
    """Read a flag that is off unless given."""
    value = given.get(name, False)
    if not isinstance(value, bool):
        raise BadConfiguration(name, f"{value!r}: expected true or false")
    return value


def mapping(given: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an object; empty if there is none."""
    value = given.get(name) or {}
    if not isinstance(value, dict):
        raise BadConfiguration(name, "expected an object")
    return value


def load(name: str) -> Any:
    """Import a plugin's class by "module:Class"."""
    module, _, cls = name.partition(":")
    if not cls:
        raise BadConfiguration("", f'plugin "{name}" does not exist; one of your own is named "module:Class"')
    try:
        return getattr(importlib.import_module(module), cls)
    except (ImportError, AttributeError) as err:
        raise BadConfiguration("", f'plugin "{name}" cannot be loaded: {err}') from err


def _convert(value: Any, kind: Any, name: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as err:
        raise BadConfiguration(name, str(err)) from err
