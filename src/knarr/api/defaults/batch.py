"""Jobs and cron jobs.

Source: k8s.io/kubernetes/pkg/apis/batch/v1/defaults.go (v1.37).
"""

from typing import Any

from knarr.api.defaults import pods

Object = dict[str, Any]

BACKOFF_LIMIT = 6
MAX_INT32 = 2**31 - 1


def job(obj: Object) -> None:
    """Set the defaults of a Job."""
    spec = obj.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    per_index = spec.get("backoffLimitPerIndex") is not None
    values = {
        "parallelism": 1,
        "backoffLimit": MAX_INT32 if per_index else BACKOFF_LIMIT,
        "completionMode": "NonIndexed",
        "suspend": False,
        "manualSelector": False,
        "podReplacementPolicy": "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed",
    }
    for name, value in values.items():
        if spec.get(name) is None:
            spec[name] = value
    template = spec.setdefault("template", {})
    labels = (template.get("metadata") or {}).get("labels")
    metadata = obj.setdefault("metadata", {})
    if labels and not metadata.get("labels"):
        metadata["labels"] = dict(labels)
    _failure_policy(spec)
    pods.template(template)


def cron_job(obj: Object) -> None:
    """Set the defaults of a CronJob; those of its jobs are set when they are made."""
    spec = obj.setdefault("spec", {})
    if not spec.get("concurrencyPolicy"):
        spec["concurrencyPolicy"] = "Allow"
    for name, value in (("suspend", False), ("successfulJobsHistoryLimit", 3), ("failedJobsHistoryLimit", 1)):
        if spec.get(name) is None:
            spec[name] = value
    job_spec = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    _failure_policy(job_spec)
    pods.template(job_spec.setdefault("template", {}))


def _failure_policy(spec: Object) -> None:
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or ():
        for pattern in rule.get("onPodConditions") or ():
            if not pattern.get("status"):
                pattern["status"] = "True"
