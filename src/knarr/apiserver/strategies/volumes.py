"""Volumes and claims: their phases at birth, when a volume's phase changed, and the two fields for a claim's source.

Source: k8s.io/kubernetes/pkg/registry/core/{persistentvolume,persistentvolumeclaim}/strategy.go,
pkg/api/persistentvolumeclaim/util.go (v1.37).
"""

from typing import Any

from knarr.apiserver.strategies.strategy import Context, Strategy

Object = dict[str, Any]

_OLD_SOURCES = {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}


def _create_volume(context: Context, volume: Object) -> None:
    volume["status"] = {"phase": "Pending", "lastPhaseTransitionTime": context.parts.now()}


def _volume_status(context: Context, volume: Object, old: Object) -> None:
    volume["spec"] = old.get("spec") or {}
    status, before = volume.setdefault("status", {}), old.get("status") or {}
    changed, was = (one.get("lastPhaseTransitionTime") for one in (status, before))
    if status.get("phase") != before.get("phase") and changed in (None, was):
        status["lastPhaseTransitionTime"] = context.parts.now()


def _create_claim(context: Context, claim: Object) -> None:
    claim["status"] = {"phase": "Pending"}
    _drop_odd_source(claim.get("spec") or {})
    _fill_sources(claim.get("spec") or {})


def _update_claim(context: Context, claim: Object, old: Object) -> None:
    spec = claim.get("spec") or {}
    if (old.get("spec") or {}).get("dataSource") is None:
        _drop_odd_source(spec)
    _fill_sources(spec)


def _drop_odd_source(spec: Object) -> None:
    """Forget a source that the old field never took, unless the new one is given too."""
    source = spec.get("dataSource")
    if source is None or spec.get("dataSourceRef") is not None:
        return
    if (source.get("apiGroup") or "", source.get("kind")) not in _OLD_SOURCES:
        del spec["dataSource"]


def _fill_sources(spec: Object) -> None:
    """Say the source in both fields, unless it is in another namespace, which only the new one can say."""
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {name: value for name, value in reference.items() if name != "namespace"}


VOLUMES = Strategy(prepare_create=_create_volume, prepare_status=_volume_status, returns_deleted=True)
CLAIMS = Strategy(prepare_create=_create_claim, prepare_update=_update_claim, returns_deleted=True)
