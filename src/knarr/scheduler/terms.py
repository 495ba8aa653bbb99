"""Terms of pod affinity, read once: whom a term means, how far, and how strongly.

Upstream counterpart: AffinityTerm in pkg/scheduler/framework/types.go (v1.37).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import msgspec
from lightkube.models import core_v1, meta_v1
from msgspec.structs import replace

from knarr.control import selectors

HARD_WEIGHT = 1
"""What a required affinity of a pod that runs already counts in scores, unless configured."""

NamespaceLabels = Callable[[], Mapping[str, Mapping[str, str]]]


class Stance(Enum):
    """What a term asks for."""

    NEAR = "required affinity"
    AWAY = "required anti-affinity"
    PREFER = "preferred, near or away"


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """One term of a pod's affinity or anti-affinity.

    Attributes:
        key: Equal for equal terms of pods in the same namespace.
        stance: What it asks for.
        weight: Of a preference; negative to be away.
        topology_key: The label of nodes that tells how far.
        namespaces: Where it means pods.
        everywhere: Whether it means pods in all namespaces.
        namespace_selector: Selects further namespaces.
        selector: Selects pods there.
    """

    key: bytes
    stance: Stance
    weight: int
    topology_key: str
    namespaces: frozenset[str]
    everywhere: bool
    namespace_selector: meta_v1.LabelSelector | None
    selector: meta_v1.LabelSelector | None

    def means(self, namespace: str, labels: Mapping[str, str], known: NamespaceLabels) -> bool:
        """Tell whether it means a pod in a namespace with labels; `known` gives the labels of namespaces."""
        if not selectors.matches(self.selector, labels):
            return False
        if self.everywhere or namespace in self.namespaces:
            return True
        return self.namespace_selector is not None and selectors.matches(
            self.namespace_selector, known().get(namespace)
        )

    def places(self, known: NamespaceLabels) -> frozenset[str] | None:
        """Return the namespaces in which it means pods; None for all."""
        if self.everywhere:
            return None
        if self.namespace_selector is None:
            return self.namespaces
        found = {name for name, labels in known().items() if selectors.matches(self.namespace_selector, labels)}
        return self.namespaces | found


def of(spec: core_v1.PodSpec, namespace: str, labels: Mapping[str, str]) -> Sequence[Term]:
    """Read the terms of a pod."""
    if spec.affinity is None:
        return ()
    return [*_read(spec.affinity, namespace, labels)]


def _read(affinity: core_v1.Affinity, namespace: str, labels: Mapping[str, str]) -> Iterator[Term]:
    for part, stance, sign in ((affinity.podAffinity, Stance.NEAR, 1), (affinity.podAntiAffinity, Stance.AWAY, -1)):
        if part is None:
            continue
        for term in part.requiredDuringSchedulingIgnoredDuringExecution or ():
            yield _term(term, stance, 0, namespace, labels)
        for weighted in part.preferredDuringSchedulingIgnoredDuringExecution or ():
            yield _term(weighted.podAffinityTerm, Stance.PREFER, sign * weighted.weight, namespace, labels)


def _term(
    term: core_v1.PodAffinityTerm, stance: Stance, weight: int, namespace: str, labels: Mapping[str, str]
) -> Term:
    namespaces = frozenset(term.namespaces or ())
    selecting = term.namespaceSelector
    if selecting is None and not namespaces:
        namespaces = frozenset((namespace,))
    everywhere = selecting is not None and selectors.is_empty(selecting)
    selector = _selector(term, labels)
    key = msgspec.json.encode(
        (stance.value, weight, term.topologyKey, sorted(namespaces), everywhere, selecting, selector)
    )
    return Term(
        key, stance, weight, term.topologyKey, namespaces, everywhere, None if everywhere else selecting, selector
    )


def _selector(term: core_v1.PodAffinityTerm, labels: Mapping[str, str]) -> meta_v1.LabelSelector | None:
    selector = term.labelSelector
    if selector is None or not (term.matchLabelKeys or term.mismatchLabelKeys):
        return selector
    more = [(key, "In") for key in term.matchLabelKeys or ()] + [(key, "NotIn") for key in term.mismatchLabelKeys or ()]
    requirements = [
        meta_v1.LabelSelectorRequirement(key=key, operator=operator, values=[labels[key]])
        for key, operator in more
        if key in labels
    ]
    return replace(selector, matchExpressions=[*(selector.matchExpressions or ()), *requirements])
