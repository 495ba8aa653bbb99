"""Warnings about whatever makes pods: they are those of its template, and some about names and numbers.

An update is judged only if it changes what pods are made of, which the generation tells.

Source: k8s.io/kubernetes/pkg/registry/{apps,batch,core}/*/strategy.go, pkg/api/job/warnings.go (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.warnings import pods, volumes

Object = dict[str, Any]

_MANY_COMPLETIONS = 100_000
_MANY_PARALLEL = 10_000
_MANY_WORDS = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
    "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
_NAME_WORDS = (
    "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
    "a DNS label is recommended: "
)
_ZONE_WORDS = (
    "CRON_TZ or TZ used in spec.schedule is not officially supported, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


def workload(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about a controller of pods by its template."""
    if old is not None and _generation(obj) == _generation(old):
        return []
    return pods.template(_spec(obj).get("template") or {}, "spec.template")


def named_workload(obj: Object, old: Object | None) -> list[str]:
    """Return the same, and a warning if its name makes odd host names."""
    return _name(obj, old) + workload(obj, old)


def pod_template(obj: Object, _old: Object | None) -> list[str]:
    """Return the warnings about a PodTemplate."""
    return pods.template(obj.get("template") or {}, "template")


def stateful_set(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about a StatefulSet and the claims it makes."""
    spec, found = _spec(obj), workload(obj, old)
    if old is None or _generation(obj) != _generation(old):
        for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            path = f"spec.volumeClaimTemplates[{index}]"
            found += volumes.claim_spec(claim.get("spec") or {}, path if old is None else f"{path}.Spec")
    limit = spec.get("revisionHistoryLimit")
    if limit is not None and limit < 0:
        words = "a negative value retains all historical revisions; a value >= 0 is recommended"
        found.append(f"spec.revisionHistoryLimit: {words}")
    return found


def job(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about a Job."""
    if old is not None and _generation(obj) == _generation(old):
        return []
    return _name(obj, old) + _job_spec(_spec(obj), "spec")


def cron_job(obj: Object, old: Object | None) -> list[str]:
    """Return the warnings about a CronJob and the Jobs it makes."""
    found = _name(obj, old)
    if old is None or _generation(obj) != _generation(old):
        template = _spec(obj).get("jobTemplate") or {}
        found += _job_spec(template.get("spec") or {}, "spec.jobTemplate.spec")
    if "TZ" in (_spec(obj).get("schedule") or ""):
        found.append(_ZONE_WORDS)
    return found


def _job_spec(spec: Object, path: str) -> list[str]:
    found = []
    completions, parallelism = spec.get("completions") or 0, spec.get("parallelism") or 0
    is_indexed = spec.get("completionMode") == "Indexed"
    if is_indexed and completions > _MANY_COMPLETIONS and parallelism > _MANY_PARALLEL:
        found.append(f"{path}: {_MANY_WORDS}")
    return found + pods.template(spec.get("template") or {}, f"{path}.template")


def _name(obj: Object, old: Object | None) -> list[str]:
    complaints = names.dns_label(obj["metadata"].get("name") or "") if old is None else ()
    return [f"{_NAME_WORDS}[{' '.join(complaints)}]"] if complaints else []


def _spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def _generation(obj: Object) -> int:
    return obj["metadata"].get("generation") or 0
