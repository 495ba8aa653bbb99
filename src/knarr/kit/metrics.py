"""Metrics of this process: counters, gauges and histograms cheap enough for the hot path, and their text for Prometheus.

The types here only count; prometheus-client turns the counts into text when they are asked for. A labelled child is
looked up once and kept by its user, so that an observation is an addition.

Counterpart: k8s.io/component-base/metrics (v1.37), whose names and help texts of metrics users build dashboards on.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from knarr.kit.http.messages import Headers, Response

DEFAULT_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds in seconds, as Prometheus' Go client has them."""


class Count:
    """A number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount


class Level:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def set(self, value: float) -> None:
        """Replace it."""
        self.value = value

    def add(self, amount: float = 1.0) -> None:
        """Add to it; the amount may be negative."""
        self.value += amount


class Distribution:
    """How often values fell below each bound."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


C = TypeVar("C", bound=Count | Level | Distribution)


class Family(Generic[C]):
    """A metric with all its labelled children; a collector of prometheus-client."""

    def __init__(self, name: str, text: str, labels: Sequence[str], make: Callable[[], C]) -> None:
        self.name = name
        self.text = text
        self.label_names = tuple(labels)
        self._make: Callable[[], C] = make
        self._children: dict[tuple[str, ...], C] = {}

    def labels(self, *values: str) -> C:
        """Return the child with these label values, in the order of the names; make it if it is new."""
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self.label_names):
                raise ValueError(f"{self.name} has the labels {self.label_names}, got {values}")
            child = self._children[values] = self._make()
        return child

    def remove(self, *values: str) -> None:
        """Forget the child with these label values."""
        self._children.pop(values, None)

    def collect(self) -> Iterable[Metric]:
        """Yield the metric as prometheus-client knows it."""
        children = list(self._children.items())
        if not children:
            return
        first = children[0][1]
        if isinstance(first, Distribution):
            yield _histogram(self.name, self.text, self.label_names, children)
            return
        if isinstance(first, Count) and not self.name.endswith("_total"):
            yield _bare(self.name, self.text, self.label_names, children)
            return
        metric = (CounterMetricFamily if isinstance(first, Count) else GaugeMetricFamily)(
            self.name, self.text, labels=self.label_names
        )
        for values, child in children:
            assert not isinstance(child, Distribution)
            metric.add_metric(values, child.value)
        yield metric


class Registry:
    """A set of metrics that are shown together.

    Args:
        process: Show the process's own metrics too (memory, CPU, open files, garbage collector).
    """

    def __init__(self, *, process: bool = False) -> None:
        self._registry = CollectorRegistry()
        if process:
            ProcessCollector(registry=self._registry)
            PlatformCollector(registry=self._registry)
            GCCollector(registry=self._registry)

    def counter(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Count]:
        """Declare a counter; by convention the name ends in `_total`."""
        return self._add(Family(name, text, labels, Count))

    def gauge(self, name: str, text: str, labels: Sequence[str] = ()) -> Family[Level]:
        """Declare a gauge."""
        return self._add(Family(name, text, labels, Level))

    def histogram(
        self, name: str, text: str, bounds: Sequence[float] = DEFAULT_BUCKETS, labels: Sequence[str] = ()
    ) -> Family[Distribution]:
        """Declare a histogram with the given upper bounds, ascending."""
        return self._add(Family(name, text, labels, lambda: Distribution(bounds)))

    def collect_from(self, collect: Callable[[], Iterable[Metric]]) -> None:
        """Add metrics that are read off something else each time they are shown."""
        self._registry.register(_Reader(collect))

    def expose(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def to_response(self) -> Response:
        """Return all metrics as the answer to `GET /metrics`."""
        return Response(200, Headers.from_lower([("content-type", CONTENT_TYPE_LATEST)]), self.expose())

    def _add(self, family: Family[C]) -> Family[C]:
        self._registry.register(family)
        return family


class _Reader:
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self.collect = collect


def _bare(name: str, text: str, labels: Sequence[str], children: Iterable[tuple[tuple[str, ...], object]]) -> Metric:
    # An old counter without the suffix: prometheus-client would add it to any counter.
    metric = Metric(name, text, "unknown")
    for values, child in children:
        assert isinstance(child, Count)
        metric.add_sample(name, dict(zip(labels, values, strict=True)), child.value)
    return metric


def _histogram(
    name: str, text: str, labels: Sequence[str], children: Iterable[tuple[tuple[str, ...], object]]
) -> HistogramMetricFamily:
    metric = HistogramMetricFamily(name, text, labels=labels)
    for values, child in children:
        assert isinstance(child, Distribution)
        running, buckets = 0, []
        for bound, count in zip((*child.bounds, float("inf")), child.counts, strict=True):
            running += count
            buckets.append(("+Inf" if bound == float("inf") else repr(float(bound)), float(running)))
        metric.add_metric(values, buckets, child.total)
    return metric


PROCESS = Registry(process=True)
"""The metrics of this process. One a process by nature, and the only module-level registry there is."""
