"""KubeSchedulerConfiguration: profiles, their plugins and arguments, backoff, leader election, extenders.

Upstream counterpart: k8s.io/kube-scheduler/config/v1 and pkg/scheduler/apis/config (v1.37).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from knarr.api.field import format_errors
from knarr.scheduler import arguments, validation
from knarr.scheduler.errors import BadConfiguration
from knarr.scheduler.extenders import Extender
from knarr.scheduler.plugins import order
from knarr.scheduler.profile import DEFAULT_NAME, POINTS, Profile, assemble

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}

Listed = Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True)
class LeaderElection:
    """How one of several schedulers becomes the one that works.

    Attributes:
        enabled: Whether they elect.
        lease_s: How long an unrenewed Lease is respected.
        renew_s: After this long without renewal the holder stops.
        retry_s: Between attempts.
        namespace: Where the Lease is.
        name: Its name.
    """

    enabled: bool = True
    lease_s: float = 15.0
    renew_s: float = 10.0
    retry_s: float = 2.0
    namespace: str = "kube-system"
    name: str = "kube-scheduler"


@dataclass(frozen=True, slots=True)
class ProfileSettings:
    """One profile as configured.

    Attributes:
        name: Its scheduler name.
        enabled: Plugins with weights, in order.
        points: For some extension points, another list.
        args: The plugins' arguments.
    """

    name: str = DEFAULT_NAME
    enabled: Listed = field(default_factory=lambda: [(name, weight) for name, (weight, _) in order.PLUGINS.items()])
    points: Mapping[str, Listed] = field(default_factory=dict)
    args: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def build(self, tools: order.Tools) -> Profile:
        """Make the plugins.

        Raises:
            BadConfiguration: one of them does not exist or refuses its arguments.
        """
        made: dict[str, Any] = {}

        def of(listed: Listed) -> list[tuple[Any, int]]:
            return [(self._make(name, made, tools), weight) for name, weight in listed]

        return assemble(self.name, of(self.enabled), {point: of(listed) for point, listed in self.points.items()})

    def _make(self, name: str, made: dict[str, Any], tools: order.Tools) -> Any:
        if name not in made:
            try:
                made[name] = order.make(name, tools, self.args.get(name, {}))
            except BadConfiguration as err:
                path = f"profile {self.name}, plugin {name}" + (f", args.{err.path}" if err.path else "")
                raise BadConfiguration(path, err.problem) from err
        return made[name]


@dataclass(frozen=True, slots=True)
class Settings:
    """A whole configuration.

    Attributes:
        profiles: At least one.
        initial_backoff_s: How long a pod rests after its first failed try.
        max_backoff_s: How long at most.
        leader_election: Of several schedulers.
        extenders: In order.
    """

    profiles: Sequence[ProfileSettings] = (ProfileSettings(),)
    initial_backoff_s: float = 1.0
    max_backoff_s: float = 10.0
    leader_election: LeaderElection = field(default_factory=LeaderElection)
    extenders: Sequence[Extender] = ()


def parse(text: str) -> Settings:
    """Read a configuration file.

    Raises:
        BadConfiguration: it is none, or asks for what there is not.
    """
    try:
        given = yaml.safe_load(text)
    except yaml.YAMLError as err:
        raise BadConfiguration("", f"not YAML: {err}") from err
    if not isinstance(given, dict) or (given.get("apiVersion"), given.get("kind")) != (API_VERSION, KIND):
        raise BadConfiguration("", f"expected apiVersion {API_VERSION} and kind {KIND}")
    unknown = given.keys() - _FIELDS
    if unknown:
        raise BadConfiguration(min(unknown), f"unknown field; expected one of {', '.join(sorted(_FIELDS))}")
    refused = validation.validate(given)
    if refused:
        raise BadConfiguration("", format_errors(refused))
    extenders = [_extender(one, f"extenders[{n}]") for n, one in enumerate(given.get("extenders") or ())]
    profiles = [_profile(one, f"profiles[{n}]", extenders) for n, one in enumerate(given.get("profiles") or [{}])]
    names = [one.name for one in profiles]
    if len({*names}) < len(names):
        raise BadConfiguration("profiles", f"scheduler names must differ: {', '.join(names)}")
    initial_s = arguments.integer(given, "podInitialBackoffSeconds", 1, lowest=1)
    max_s = arguments.integer(given, "podMaxBackoffSeconds", 10, lowest=initial_s)
    arguments.integer(given, "percentageOfNodesToScore", 0, lowest=0, highest=100)  # all nodes are looked at, always
    return Settings(profiles, float(initial_s), float(max_s), _election(given), extenders)


_FIELDS = frozenset(
    (
        *("apiVersion", "kind", "profiles", "extenders", "leaderElection", "percentageOfNodesToScore", "parallelism"),
        *("podInitialBackoffSeconds", "podMaxBackoffSeconds", "clientConnection", "delayCacheUntilActive"),
        *("enableProfiling", "enableContentionProfiling"),
    )
)


def _profile(given: Mapping[str, Any], path: str, extenders: Sequence[Extender]) -> ProfileSettings:
    plugins = arguments.mapping(given, "plugins")
    unknown = plugins.keys() - POINTS.keys() - {"multiPoint", "preScore"}
    if unknown:
        raise BadConfiguration(f"{path}.plugins.{min(unknown)}", "unknown extension point")
    default = ProfileSettings().enabled
    enabled = _merge(default, arguments.mapping(plugins, "multiPoint"), f"{path}.plugins.multiPoint")
    points = {
        point: _merge(enabled, arguments.mapping(plugins, point), f"{path}.plugins.{point}")
        for point in plugins
        if point in POINTS
    }
    args: dict[str, Mapping[str, Any]] = {}
    for number, one in enumerate(given.get("pluginConfig") or ()):
        where = f"{path}.pluginConfig[{number}]"
        name = one.get("name") or ""
        if not name or name in args:
            raise BadConfiguration(f"{where}.name", "expected the name of a plugin, once each")
        args[name] = {
            key: value for key, value in arguments.mapping(one, "args").items() if key not in ("apiVersion", "kind")
        }
    left = frozenset().union(*(one.ignored for one in extenders)) if extenders else frozenset()
    if left:
        fit = dict(args.get("NodeResourcesFit", {}))
        args["NodeResourcesFit"] = {**fit, "ignoredResources": [*(fit.get("ignoredResources") or ()), *sorted(left)]}
    return ProfileSettings(given.get("schedulerName") or DEFAULT_NAME, enabled, points, args)


def _merge(listed: Listed, given: Mapping[str, Any], path: str) -> Listed:
    """Disable, then enable: what is enabled keeps its place if it is there already, else it comes last."""
    disabled = {str(one.get("name")) for one in given.get("disabled") or ()}
    kept = [] if "*" in disabled else [(name, weight) for name, weight in listed if name not in disabled]
    own = [*_named(given.get("enabled") or (), path)]
    weights = dict(own)
    merged = [(name, weights.pop(name) if name in weights else weight) for name, weight in kept]
    return merged + [(name, weight) for name, weight in own if name in weights]


def _named(given: Sequence[Mapping[str, Any]], path: str) -> Iterator[tuple[str, int]]:
    for number, one in enumerate(given):
        name = one.get("name")
        if not isinstance(name, str) or not name:
            raise BadConfiguration(f"{path}.enabled[{number}].name", "expected the name of a plugin")
        default = order.PLUGINS[name][0] if name in order.PLUGINS else 0
        yield name, arguments.integer(one, "weight", 0, lowest=0, highest=100) or default or 1


def _election(given: Mapping[str, Any]) -> LeaderElection:
    found = arguments.mapping(given, "leaderElection")
    default = LeaderElection()
    return LeaderElection(
        enabled=bool(found.get("leaderElect", True)),
        lease_s=_seconds(found, "leaseDuration", default.lease_s),
        renew_s=_seconds(found, "renewDeadline", default.renew_s),
        retry_s=_seconds(found, "retryPeriod", default.retry_s),
        namespace=found.get("resourceNamespace") or default.namespace,
        name=found.get("resourceName") or default.name,
    )


def _extender(given: Mapping[str, Any], path: str) -> Extender:
    url = given.get("urlPrefix")
    if not isinstance(url, str) or not url.startswith(("http://", "https://")):
        raise BadConfiguration(f"{path}.urlPrefix", f"{url!r}: expected an http or https URL")
    managed = given.get("managedResources") or []
    return Extender(
        url=url.rstrip("/"),
        filter=given.get("filterVerb") or "",
        prioritize=given.get("prioritizeVerb") or "",
        bind=given.get("bindVerb") or "",
        weight=arguments.integer(given, "weight", 1, lowest=0),
        timeout_s=_seconds(given, "httpTimeout", 5.0),
        by_name=arguments.boolean(given, "nodeCacheCapable"),
        resources=frozenset(one["name"] for one in managed),
        ignored=frozenset(one["name"] for one in managed if one.get("ignoredByScheduler")),
        ignorable=arguments.boolean(given, "ignorable"),
    )


def _seconds(given: Mapping[str, Any], name: str, default: float) -> float:
    text = given.get(name)
    if text is None:
        return default
    parts = _DURATION.findall(str(text))
    if not parts or "".join(a + b for a, b in parts) != str(text):
        raise BadConfiguration(name, f"{text!r}: expected a duration such as 15s")
    return sum(float(value) * _UNITS_S[unit] for value, unit in parts)
