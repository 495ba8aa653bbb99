"""What upstream refuses in a KubeSchedulerConfiguration, in upstream's words: the values that make no sense, all of them at once.

Values of the wrong type are left to those who read them.

Source: pkg/scheduler/apis/config/validation/validation.go and validation_pluginargs.go (v1.37).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from knarr.api import field, names
from knarr.api.field import FieldError, Path
from knarr.scheduler.arguments import LEAST, MAX_RATIO_SCORE, MOST, RATIO

Given = Mapping[str, Any]
Check = Callable[[Path, Given], Iterator[FieldError]]

STRATEGIES = (LEAST, MOST, RATIO)
_REMOVED = frozenset(("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits"))
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")


def validate(given: Given) -> list[FieldError]:
    """Return all that is wrong with a configuration of the right version and kind.

    Args:
        given: As decoded from YAML.
    """
    return [
        *_number(given, Path("parallelism"), 1, None, "should be an integer value greater than zero"),
        *_profiles(Path("profiles"), _list(given, "profiles")),
        *_number(given, Path("percentageOfNodesToScore"), 0, 100, "not in valid range [0-100]"),
        *_number(given, Path("podInitialBackoffSeconds"), 1, None, "must be greater than 0"),
        *_max_backoff(given),
        *_extenders(Path("extenders"), _list(given, "extenders")),
    ]


def _max_backoff(given: Given) -> Iterator[FieldError]:
    first, most = given.get("podInitialBackoffSeconds") or 1, given.get("podMaxBackoffSeconds")
    most = 10 if most is None else most
    if _is_number(first) and _is_number(most) and most < first:
        detail = "must be greater than or equal to PodInitialBackoffSeconds"
        yield field.invalid(Path("podMaxBackoffSeconds"), most, detail)


def _profiles(path: Path, profiles: Sequence[Given]) -> Iterator[FieldError]:
    seen: dict[str, int] = {}
    for number, one in enumerate(profiles):
        here = path.index(number)
        name = one.get("schedulerName", "default-scheduler" if len(profiles) == 1 else "")
        if not name:
            yield field.required(here.child("schedulerName"))
        yield from _number(one, here.child("percentageOfNodesToScore"), 0, 100, "not in valid range [0-100]")
        yield from _plugins(here, one)
        if name in seen:
            yield field.duplicate(here.child("schedulerName"), f"{path.index(seen[name]).child('schedulerName')}")
        seen[name] = number
    sorts = [(one.get("plugins") or {}).get("queueSort") or {} for one in profiles]
    if sorts and len(sorts[0].get("enabled") or ()) > 1:
        enabled = path.index(0).child("plugins", "queueSort", "Enabled")
        yield field.invalid(enabled, len(sorts[0]["enabled"]), "only one queue sort plugin can be enabled")
    for number, one in enumerate(sorts):
        if one != sorts[0]:
            detail = "must be the same for all profiles"
            yield field.invalid(path.index(number).child("plugins", "queueSort"), one, detail)


def _plugins(path: Path, profile: Given) -> Iterator[FieldError]:
    for point, given in (profile.get("plugins") or {}).items():
        for number, one in enumerate((given or {}).get("enabled") or ()):
            if one.get("name") in _REMOVED:
                yield _removed(path.child("plugins", point, "enabled").index(number), one["name"])
    seen: set[str] = set()
    for number, one in enumerate(_list(profile, "pluginConfig")):
        here, name, args = path.child("pluginConfig").index(number), one.get("name") or "", one.get("args") or {}
        if name in seen:
            yield field.duplicate(here, name)
        seen.add(name)
        if name in _REMOVED:
            yield _removed(here, name)
        elif name in _ARGUMENTS and isinstance(args, dict):
            if args.get("kind", f"{name}Args") != f"{name}Args":
                yield field.invalid(here.child("args"), args, "has to match plugin args")
            else:
                yield from _ARGUMENTS[name](here.child("args"), args)


def _removed(path: Path, name: str) -> FieldError:
    version = "kubescheduler.config.k8s.io/v1"
    return field.invalid(path, name, f'was invalid in version "v1" (KubeSchedulerConfiguration is version "{version}")')


def _preemption(path: Path, args: Given) -> Iterator[FieldError]:
    percentage, absolute = path.child("minCandidateNodesPercentage"), path.child("minCandidateNodesAbsolute")
    yield from _number(args, percentage, 0, 100, "not in valid range [0, 100]")
    yield from _number(args, absolute, 0, None, "not in valid range [0, inf)")
    if args.get("minCandidateNodesPercentage") == 0 and args.get("minCandidateNodesAbsolute") == 0:
        yield field.invalid(percentage, 0, "cannot be zero at the same time as minCandidateNodesAbsolute")
        yield field.invalid(absolute, 0, "cannot be zero at the same time as minCandidateNodesPercentage")


def _inter_pod_affinity(path: Path, args: Given) -> Iterator[FieldError]:
    yield from _number(args, path.child("hardPodAffinityWeight"), 0, 100, "not in valid range [0, 100]")


def _balanced(path: Path, args: Given) -> Iterator[FieldError]:
    seen: set[str] = set()
    for number, one in enumerate(_list(args, "resources")):
        here, name = path.child("resources").index(number), str(one.get("name", ""))
        if name in seen:
            yield field.duplicate(here.child("name"), name)
        seen.add(name)
        if one.get("weight", 1) != 1:
            yield field.invalid(here.child("weight"), one["weight"], "must be 1")


def _fit(path: Path, args: Given) -> Iterator[FieldError]:
    for kind in ("ignoredResources", "ignoredResourceGroups"):
        for number, name in enumerate(args.get(kind) or ()):
            here = path.child(kind).index(number)
            if kind == "ignoredResourceGroups" and "/" in str(name):
                yield field.invalid(here, name, "resource group name can't contain '/'")
            for complaint in names.qualified_name(str(name)):
                yield field.invalid(here, name, complaint)
    strategy = args.get("scoringStrategy")
    if isinstance(strategy, dict):
        yield from _strategy(path.child("scoringStrategy"), strategy)


def _strategy(path: Path, given: Given) -> Iterator[FieldError]:
    kind, ratio = given.get("type") or LEAST, given.get("requestedToCapacityRatio")
    if kind not in STRATEGIES:
        yield field.not_supported(path.child("type"), kind, STRATEGIES)
    for number, one in enumerate(_list(given, "resources")):
        detail = f"resource weight of {one.get('name')} not in valid range (0, 100]"
        yield from _number(one, path.child("resources").index(number).child("weight"), 1, 100, detail)
    here = path.child("requestedToCapacityRatio")
    if kind == RATIO:
        if ratio is None:
            yield field.required(here, "must be specified when type is RequestedToCapacityRatio")
        else:
            yield from _shape(here.child("shape"), _list(ratio, "shape"))
    elif ratio is not None:
        yield field.forbidden(here, "must be nil when type is not RequestedToCapacityRatio")


def _shape(path: Path, points: Sequence[Given]) -> Iterator[FieldError]:
    if not points:
        yield field.required(path, "at least one point must be specified")
    at = [one.get("utilization", 0) for one in points]
    for number in range(1, len(at)):
        if _is_number(at[number]) and _is_number(at[number - 1]) and at[number - 1] >= at[number]:
            here = path.index(number).child("utilization")
            yield field.invalid(here, at[number], "values must be sorted in increasing order")
            break
    for number, one in enumerate(points):
        for name, most in (("utilization", 100), ("score", MAX_RATIO_SCORE)):
            yield from _number(one, path.index(number).child(name), 0, most, f"not in valid range [0, {most}]")


def _spread(path: Path, args: Given) -> Iterator[FieldError]:
    kind, constraints = args.get("defaultingType") or "System", _list(args, "defaultConstraints")
    if kind not in ("System", "List"):
        yield field.not_supported(path.child("defaultingType"), kind, ("System", "List"))
    elif kind == "System" and constraints:
        yield field.invalid(path.child("defaultingType"), kind, "when .defaultConstraints are not empty")
    seen: set[tuple[Any, Any]] = set()
    for number, one in enumerate(constraints):
        here = path.child("defaultConstraints").index(number)
        if "maxSkew" not in one:
            yield field.invalid(here.child("maxSkew"), 0, "not in valid range (0, inf)")
        yield from _number(one, here.child("maxSkew"), 1, None, "not in valid range (0, inf)")
        key, action = one.get("topologyKey") or "", one.get("whenUnsatisfiable") or ""
        if not key:
            yield field.required(here.child("topologyKey"), "can not be empty")
        for complaint in names.qualified_name(str(key)) if key else ():
            yield field.invalid(here.child("topologyKey"), key, complaint)
        if not action:
            yield field.required(here.child("whenUnsatisfiable"), "can not be empty")
        elif action not in _ACTIONS:
            yield field.not_supported(here.child("whenUnsatisfiable"), action, _ACTIONS)
        if one.get("labelSelector") is not None:
            detail = "constraint must not define a selector, as they deduced for each pod"
            yield field.forbidden(here.child("labelSelector"), detail)
        if (key, action) in seen:
            yield field.duplicate(here, f"{{{key}, {action}}}")
        seen.add((key, action))


def _volume_binding(path: Path, args: Given) -> Iterator[FieldError]:
    detail = "invalid BindTimeoutSeconds, should not be a negative value"
    yield from _number(args, path.child("bindTimeoutSeconds"), 0, None, detail)


_ARGUMENTS: Mapping[str, Check] = {
    "DefaultPreemption": _preemption,
    "InterPodAffinity": _inter_pod_affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "VolumeBinding": _volume_binding,
}


def _extenders(path: Path, extenders: Sequence[Given]) -> Iterator[FieldError]:
    managed: set[str] = set()
    for number, one in enumerate(extenders):
        here = path.index(number)
        weight = one.get("weight", 1)
        if one.get("prioritizeVerb") and _is_number(weight) and weight <= 0:
            yield field.invalid(here.child("weight"), weight, "must have a positive weight applied to it")
        for place, resource in enumerate(_list(one, "managedResources")):
            at, name = here.child("managedResources").index(place).child("name"), str(resource.get("name", ""))
            complaints = [*names.qualified_name(name)]
            if not complaints and ("/" not in name or name.partition("/")[0].endswith("kubernetes.io")):
                complaints = ["is an invalid extended resource name"]
            yield from (field.invalid(at, name, complaint) for complaint in complaints)
            if name in managed:
                yield field.invalid(at, name, "duplicate extender managed resource name")
            managed.add(name)
    binders = sum(bool(one.get("bindVerb")) for one in extenders)
    if binders > 1:
        yield field.invalid(
            path, f"found {binders} extenders implementing bind", "only one extender can implement bind"
        )


def _number(given: Given, path: Path, lowest: int, highest: int | None, detail: str) -> Iterator[FieldError]:
    """Check the number of the path's last name, if there is one."""
    value = given.get(path.text.rpartition(".")[2])
    if _is_number(value) and (value < lowest or (highest is not None and value > highest)):
        yield field.invalid(path, value, detail)


def _is_number(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _list(given: Given, name: str) -> Sequence[Given]:
    found = given.get(name) or ()
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else ()
