"""Stage files: how whole groups of pods are played, by their labels, namespaces and images.

    kind: Stage
    apiVersion: simulated.knarr.dev/v1alpha1
    metadata: {name: flaky-web}
    spec:
      selector: {matchLabels: {app: web}}   # any of selector, namespaces, images, containers may be left out
      namespaces: [shop]
      images: ["*/web:*"]
      share: 0.2                            # a fifth of these pods, by chance
      play: {start: 1s..3s, exit: 30s, code: 1, runs: 2}

The first Stage of a file that fits a container is taken. `play` has the names of `script.Directions`. The idea is that of kwok's Stages
(https://kwok.sigs.k8s.io/docs/user/stages-configuration/); but a Stage here says what happens, and the node's own code what the API
shows of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import yaml
from lightkube.models import core_v1, meta_v1

from knarr.control import selectors
from knarr.node.pods import spec as specs
from knarr.node.pods.spec import ContainerSpec
from knarr.node.simulated.errors import StageInvalid
from knarr.node.simulated.script import NOTHING, Directions, parse

API_VERSION = "simulated.knarr.dev/v1alpha1"
_SPEC = ("selector", "namespaces", "images", "containers", "share", "play")


@dataclass(frozen=True, slots=True)
class Stage:
    """How some containers are played.

    Attributes:
        name: For messages, and part of its chance.
        play: What they do.
        selector: The labels of their pods; None takes all.
        namespaces: Where their pods are; empty takes all.
        images: Patterns with * and ? for their images; empty takes all.
        containers: Patterns for their names; empty takes all.
        share: The share of such pods, 0 to 1.
    """

    name: str
    play: Directions
    selector: meta_v1.LabelSelector | None = None
    namespaces: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    share: float = 1.0

    def fits(self, pod: core_v1.Pod, container: ContainerSpec, *, seed: int) -> bool:
        """Tell whether a container is to be played so."""
        labels = (pod.metadata.labels if pod.metadata is not None else None) or {}
        if self.namespaces and specs.namespace_of(pod) not in self.namespaces:
            return False
        if self.images and not _fits_any(container.image or "", self.images):
            return False
        if self.containers and not _fits_any(container.name, self.containers):
            return False
        if self.selector is not None and not selectors.matches(self.selector, labels):
            return False
        return self.share >= 1 or Random(f"{seed}/{self.name}/{specs.uid_of(pod)}").random() < self.share


def choose(stages: Sequence[Stage], pod: core_v1.Pod, container: ContainerSpec, *, seed: int) -> Directions:
    """Return what the first Stage that fits says; nothing if none does."""
    return next((stage.play for stage in stages if stage.fits(pod, container, seed=seed)), NOTHING)


def load(path: Path) -> tuple[Stage, ...]:
    """Read a file of Stages.

    Raises:
        StageInvalid: It cannot be read, or says something that makes no sense.
    """
    try:
        return read(yaml.safe_load_all(path.read_text()))
    except (OSError, yaml.YAMLError) as err:
        raise StageInvalid(str(path), str(err)) from err
    except StageInvalid as err:
        raise StageInvalid(f"{path}: {err.where}", err.problem) from None


def read(documents: Iterable[Any]) -> tuple[Stage, ...]:
    """Read Stages from decoded documents; empty ones are passed over.

    Raises:
        StageInvalid: One makes no sense.
    """
    return tuple(_read(number, document) for number, document in enumerate(documents, 1) if document is not None)


def _read(number: int, document: Any) -> Stage:
    where = f"document {number}"
    if not isinstance(document, Mapping) or document.get("kind") != "Stage":
        raise StageInvalid(where, "expected an object of kind Stage")
    if document.get("apiVersion") != API_VERSION:
        raise StageInvalid(where, f"apiVersion {document.get('apiVersion')!r}: expected {API_VERSION}")
    name = str((document.get("metadata") or {}).get("name") or where)
    spec = document.get("spec") or {}
    unknown = [key for key in spec if key not in _SPEC]
    if unknown:
        raise StageInvalid(name, f"spec.{unknown[0]}: unknown; expected one of {', '.join(_SPEC)}")
    try:
        return Stage(
            name=name,
            play=parse(spec.get("play") or {}),
            selector=msgspec.convert(spec["selector"], meta_v1.LabelSelector) if spec.get("selector") else None,
            namespaces=tuple(spec.get("namespaces") or ()),
            images=tuple(spec.get("images") or ()),
            containers=tuple(spec.get("containers") or ()),
            share=float(spec.get("share", 1)),
        )
    except (TypeError, ValueError, msgspec.ValidationError) as err:
        raise StageInvalid(name, f"spec: {err}") from err


def _fits_any(text: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)
