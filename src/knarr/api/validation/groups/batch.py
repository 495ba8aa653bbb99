"""CronJobs, and the table of the group.

Source: k8s.io/kubernetes/pkg/apis/batch/validation/validation.go (v1.37).
"""

import re
import zoneinfo
from collections.abc import Mapping
from functools import cache

from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.groups import jobs
from knarr.api.validation.rules import Rules
from knarr.lang import cron

_NAME_MAX = 52  # the controller appends 11 characters, and a job's name may have 63
_ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)


def create(errors: Errors, obj: Object) -> None:
    """Check a new CronJob."""
    _spec(errors, obj.get("spec") or {}, None)
    name = (obj.get("metadata") or {}).get("name") or ""
    if len(name) > _NAME_MAX:
        errors.invalid("metadata.name", name, f"must be no more than {_NAME_MAX} characters")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a CronJob."""
    _spec(errors, obj.get("spec") or {}, old.get("spec") or {})


def _spec(errors: Errors, spec: Object, before: Object | None) -> None:
    schedule, zone = spec.get("schedule") or "", spec.get("timeZone")
    if not schedule:
        errors.required("spec.schedule")
    else:
        _schedule(errors, schedule, zone, zone_allowed="TZ" in ((before or {}).get("schedule") or ""))
    errors.not_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if zone is not None and (before is None or before.get("timeZone") != zone):
        _time_zone(errors, zone)
    errors.one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    jobs.check(errors, job, "spec.jobTemplate.spec")
    if job.get("selector") is not None:
        errors.invalid("spec.jobTemplate.spec.selector", job["selector"], "`selector` will be auto-generated")
    if job.get("manualSelector"):
        errors.unsupported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    errors.not_negatives(spec, "spec", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")


def _schedule(errors: Errors, schedule: str, zone: str | None, *, zone_allowed: bool) -> None:
    try:
        cron.parse(schedule)
    except ValueError as err:
        errors.invalid("spec.schedule", schedule, str(err))
    if "TZ" in schedule:
        if zone_allowed and zone is not None:
            words = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            errors.invalid("spec.schedule", schedule, words)
        elif not zone_allowed:
            words = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            errors.invalid("spec.schedule", schedule, words)


@cache
def _zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def _time_zone(errors: Errors, zone: str) -> None:
    path = "spec.timeZone"
    if not zone:
        errors.invalid(path, zone, "timeZone must be nil or non-empty string")
        return
    parts = zone.split("/")
    if any(part in {".", ".."} or part.startswith("-") or not _ZONE_PART.fullmatch(part) for part in parts):
        errors.invalid(path, zone, f"unknown time zone {zone}")
        return
    if zone.lower() == "local":
        words = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        errors.invalid(path, zone, words)
    elif zone not in _zones():
        errors.invalid(path, zone, f"unknown time zone {zone}")


RULES: Mapping[tuple[str, str], Rules] = {
    ("batch", "CronJob"): Rules(create, update),
    ("batch", "Job"): Rules(jobs.create, jobs.update, jobs.status),
}
