"""What a container should request, from what it was seen to use. Pure.

Use is kept as a histogram whose buckets grow by a twentieth, so that it stays small however long one looks, and whose samples lose half
of their weight every day, so that it follows. CPU counts each sample, memory the highest of each day, since what exceeds memory is killed
while what exceeds CPU only waits. The fewer days were seen, the further the bounds are from the target.

Upstream counterpart: the recommender of the Vertical Pod Autoscaler (k8s.io/autoscaler vertical-pod-autoscaler, v1.x: percentiles, safety
margin, confidence multipliers and their constants).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

HALF_LIFE_S = 86_400.0
GROWTH = 1.05
"""Each bucket is this much wider than the one before."""
PEAK_WINDOW_S = 86_400.0
"""The highest use of memory within this long counts once."""
SAMPLES_A_DAY = 1440
MARGIN = 1.15
"""What is added to what was seen, so that there is room."""
LOWER, TARGET, UPPER = 0.5, 0.9, 0.95
"""The shares of what was seen that the three figures cover."""
MIN_POD_CPU, MIN_POD_MEMORY = 0.025, 250.0 * 2**20
"""The least that a pod is given, in cores and bytes; its containers share it."""
OOM_GROWTH, OOM_BYTES = 1.2, 100.0 * 2**20
"""A container that ran out of memory would have used this much more, whichever is more."""
_RESCALE = 64.0
"""When the newest sample weighs 2 to the power of this, all weights are made smaller."""
_LEAST_WEIGHT = 1e-4


@dataclass(frozen=True, slots=True)
class Scale:
    """The buckets of a histogram.

    Attributes:
        first: The width of the first bucket.
        limit: The highest value that is told from higher ones.
    """

    first: float
    limit: float

    @property
    def last(self) -> int:
        """The number of the last bucket."""
        return self.bucket(self.limit)

    def bucket(self, value: float) -> int:
        """Return the number of the bucket of a value."""
        value = min(value, self.limit)
        return 0 if value < self.first else int(math.log(value * (GROWTH - 1) / self.first + 1, GROWTH) + 1e-9)

    def start(self, bucket: int) -> float:
        """Return where a bucket starts."""
        return self.first * (GROWTH**bucket - 1) / (GROWTH - 1)


CPU = Scale(first=0.01, limit=1000.0)
"""Cores."""
MEMORY = Scale(first=1e7, limit=1e12)
"""Bytes."""


@dataclass(slots=True)
class Histogram:
    """How often how much was used, what is long ago counting little.

    Attributes:
        scale: Its buckets.
        weights: Of the buckets that are not empty, as of `since_s`.
        since_s: The time at which a sample weighs what it says; later ones weigh more.
    """

    scale: Scale
    weights: dict[int, float] = field(default_factory=dict)
    since_s: float = 0.0

    def add(self, value: float, weight: float, now_s: float) -> None:
        """Count a sample; a negative weight takes one back."""
        if not self.weights:
            self.since_s = now_s
        doublings = (now_s - self.since_s) / HALF_LIFE_S
        if doublings > _RESCALE:
            self.weights = {bucket: one * 2**-doublings for bucket, one in self.weights.items()}
            self.since_s, doublings = now_s, 0.0
        bucket = self.scale.bucket(value)
        left = self.weights.get(bucket, 0.0) + weight * 2**doublings
        self.weights[bucket] = left
        if left < _LEAST_WEIGHT:
            del self.weights[bucket]

    def percentile(self, share: float) -> float:
        """Return the end of the bucket up to which at least `share` (0 to 1) of the weight lies; 0 if nothing was seen."""
        wanted, passed = share * sum(self.weights.values()), 0.0
        for bucket in sorted(self.weights):
            passed += self.weights[bucket]
            if passed >= wanted * (1 - 1e-9):
                return self.scale.start(min(bucket + 1, self.scale.last))
        return 0.0

    def to_json(self) -> dict[str, Any]:
        """Return what is to be kept of it."""
        return {"since": self.since_s, "weights": {str(bucket): one for bucket, one in sorted(self.weights.items())}}

    @classmethod
    def from_json(cls, scale: Scale, kept: Mapping[str, Any]) -> Self:
        """Read what was kept."""
        weights = {int(bucket): float(one) for bucket, one in kept.get("weights", {}).items()}
        return cls(scale, weights, float(kept.get("since", 0.0)))


@dataclass(slots=True)
class Usage:
    """What the containers of one name in the pods of one workload use.

    Attributes:
        cpu: Of cores.
        memory: Of the peaks of bytes.
        samples: How many were seen.
        first_s: When the first was; of the wall clock.
        last_s: When the last was.
        peaks: By pod: the highest use of memory, and when its window ends.
    """

    cpu: Histogram = field(default_factory=lambda: Histogram(CPU))
    memory: Histogram = field(default_factory=lambda: Histogram(MEMORY))
    samples: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    peaks: dict[str, tuple[float, float]] = field(default_factory=dict)

    def see(self, pod: str, cores: float, memory_bytes: float, now_s: float) -> None:
        """Take a sample of one pod's container."""
        self.first_s = self.first_s if self.samples else now_s
        self.last_s = now_s
        self.samples += 1
        self.cpu.add(cores, 1.0, now_s)
        self.see_memory(pod, memory_bytes, now_s)

    def see_memory(self, pod: str, memory_bytes: float, now_s: float) -> None:
        """Take a sample of memory: only the highest within a window counts."""
        peak, ends_s = self.peaks.get(pod, (0.0, 0.0))
        if now_s >= ends_s:
            peak, ends_s = 0.0, now_s + PEAK_WINDOW_S
        if memory_bytes > peak:
            if peak:
                self.memory.add(peak, -1.0, ends_s)
            self.memory.add(memory_bytes, 1.0, ends_s)
            peak = memory_bytes
        self.peaks[pod] = (peak, ends_s)

    def see_oom(self, pod: str, request_bytes: float, now_s: float) -> None:
        """Take in that a container was killed for want of memory: it would have used more than it had."""
        had = max(request_bytes, self.peaks.get(pod, (0.0, 0.0))[0])
        self.see_memory(pod, max(had * OOM_GROWTH, had + OOM_BYTES), now_s)

    def forget_pods(self, alive: set[str]) -> None:
        """Forget the windows of pods that are gone; what they used still counts."""
        self.peaks = {pod: found for pod, found in self.peaks.items() if pod in alive}

    def to_json(self) -> dict[str, Any]:
        """Return what is to be kept over a restart."""
        return {
            "cpu": self.cpu.to_json(), "memory": self.memory.to_json(),
            "samples": self.samples, "first": self.first_s, "last": self.last_s,
        }  # fmt: skip

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Self:
        """Read what was kept."""
        return cls(
            Histogram.from_json(CPU, kept.get("cpu", {})),
            Histogram.from_json(MEMORY, kept.get("memory", {})),
            int(kept.get("samples", 0)),
            float(kept.get("first", 0.0)),
            float(kept.get("last", 0.0)),
        )


@dataclass(frozen=True, slots=True)
class Amounts:
    """Requests.

    Attributes:
        cores: Of CPU.
        memory_bytes: Of memory.
    """

    cores: float
    memory_bytes: float

    def to_json(self) -> dict[str, str]:
        """Return them as the API writes requests."""
        return {"cpu": f"{math.ceil(self.cores * 1000 - 1e-6)}m", "memory": f"{math.ceil(self.memory_bytes / 2**20)}Mi"}


@dataclass(frozen=True, slots=True)
class Recommendation:
    """What one container should request.

    Attributes:
        container: Its name.
        lower: Less is too little.
        target: What to request.
        upper: More is wasted.
        days: How much was seen, in days of samples: the confidence.
    """

    container: str
    lower: Amounts
    target: Amounts
    upper: Amounts
    days: float

    def to_json(self) -> dict[str, Any]:
        """Return it in the words of a VerticalPodAutoscaler's status."""
        return {
            "containerName": self.container, "lowerBound": self.lower.to_json(), "target": self.target.to_json(),
            "upperBound": self.upper.to_json(), "confidenceDays": round(self.days, 3),
        }  # fmt: skip


def recommend(usages: Mapping[str, Usage]) -> list[Recommendation]:
    """Propose requests for the containers of a workload's pods, by the use of each."""
    found = []
    share = 1 / len(usages) if usages else 1.0
    for name, usage in sorted(usages.items()):
        days = confidence_days(usage)
        lower, target, upper = (_amounts(usage, percentile, share) for percentile in (LOWER, TARGET, UPPER))
        found.append(
            Recommendation(name, _times(lower, (1 + 0.001 / days) ** -2), target, _times(upper, 1 + 1 / days), days)
        )
    return found


def confidence_days(usage: Usage) -> float:
    """Return how many days of samples there are: not more than have passed, nor than one sample a minute makes."""
    passed = (usage.last_s - usage.first_s) / 86_400
    return max(1 / SAMPLES_A_DAY, min(passed, usage.samples / SAMPLES_A_DAY))


def _amounts(usage: Usage, percentile: float, share: float) -> Amounts:
    return Amounts(
        max(usage.cpu.percentile(percentile) * MARGIN, MIN_POD_CPU * share),
        max(usage.memory.percentile(percentile) * MARGIN, MIN_POD_MEMORY * share),
    )


def _times(amounts: Amounts, factor: float) -> Amounts:
    return Amounts(min(amounts.cores * factor, CPU.limit), min(amounts.memory_bytes * factor, MEMORY.limit))
