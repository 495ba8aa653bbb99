"""Jobs: their spec, also as part of a CronJob, and what may change.

Source: k8s.io/kubernetes/pkg/apis/batch/validation/validation.go (v1.37).
"""

from typing import Any

from knarr.api import names
from knarr.api.field import OMITTED
from knarr.api.validation import podspecs, selectors
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable
from knarr.api.validation.groups import jobpolicies
from knarr.api.validation.groups.apps import template_labels

_INDEXED = "Indexed"
_MANAGED_BY_MAX = 63
_PARALLELISM_MAX = 100_000
_FAILED_INDEXES_MAX = 100_000
_COMPLETIONS_SOFT_LIMIT = 100_000
_HIGH_PARALLELISM_MAX = 10_000
_HIGH_FAILED_INDEXES_MAX = 10_000
_HIGH = "when completions are above 100000 and used with backoff limit per index"


def create(errors: Errors, obj: Object) -> None:
    """Check a new Job, whose selector and labels were generated or are the user's own."""
    _generated_selector(errors, obj)
    spec = obj.get("spec") or {}
    _full_spec(errors, spec)
    completions = spec.get("completions")
    if spec.get("completionMode") == _INDEXED and completions is not None and completions > 0:
        name = (obj.get("metadata") or {}).get("name") or ""
        longest = f"{name}-{completions - 1}"
        if names.dns_label(longest):
            words = f"will not able to create pod with invalid DNS label: {longest}"
            errors.invalid("metadata.name", name, words)


def _generated_selector(errors: Errors, obj: Object) -> None:
    spec, about = obj.get("spec") or {}, obj.get("metadata") or {}
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    uid, name = about.get("uid") or "", about.get("name") or ""
    if not uid:
        errors.required("metadata.uid")
    expected = {
        "controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    }
    labels = template_labels(spec.get("template") or {})
    for key, value in expected.items():
        here = f"spec.template.metadata.labels[{key}]"
        if key not in (labels or {}):
            errors.required(here, f"must be '{value}'")
        elif labels and labels[key] != value:
            errors.invalid(here, labels, f"must be '{value}'")
    if selectors.is_valid(spec["selector"]) and not selectors.matches(spec["selector"], expected):
        errors.invalid("spec.selector", spec["selector"], "`selector` not auto-generated")


def _full_spec(errors: Errors, spec: Object) -> None:
    check(errors, spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        errors.required("spec.selector")
    else:
        selectors.check(errors, selector, "spec.selector")
    labels = template_labels(spec.get("template") or {})
    if selectors.is_valid(selector) and not selectors.matches(selector, labels):
        errors.invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")


def check(errors: Errors, spec: Object, path: str) -> None:
    """Check a job's spec, apart from its selector."""
    errors.not_negatives(
        spec,
        path,
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    )
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    manager = spec.get("managedBy")
    if manager is not None:
        _managed_by(errors, manager, f"{path}.managedBy")
    mode = spec.get("completionMode")
    if mode == _INDEXED:
        _indexed(errors, spec, path)
    elif mode is not None and mode != "NonIndexed":
        errors.unsupported(f"{path}.completionMode", mode, ("NonIndexed", _INDEXED))
    else:
        for field in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(field) is not None:
                errors.invalid(f"{path}.{field}", spec[field], "requires indexed completion mode")
    jobpolicies.check(errors, spec, path)
    podspecs.pod_template(errors, spec.get("template") or {}, f"{path}.template")
    _restart_policy(errors, spec, f"{path}.template.spec.restartPolicy")


def _managed_by(errors: Errors, manager: str, path: str) -> None:
    if not manager:
        errors.required(path)
    for part, complaint in names.domain_prefixed_path(manager) if manager else ():
        errors.invalid(path, part, complaint)
    if len(manager.encode()) > _MANAGED_BY_MAX:
        errors.too_long(path, _MANAGED_BY_MAX)


def _indexed(errors: Errors, spec: Object, path: str) -> None:
    completions, parallelism, failed = (spec.get(name) for name in ("completions", "parallelism", "maxFailedIndexes"))
    if completions is None:
        errors.required(f"{path}.completions", "when completion mode is Indexed")
    if parallelism is not None and parallelism > _PARALLELISM_MAX:
        words = f"must be less than or equal to {_PARALLELISM_MAX} when completion mode is Indexed"
        errors.invalid(f"{path}.parallelism", parallelism, words)
    if failed is not None and completions is not None and failed > completions:
        errors.invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > _FAILED_INDEXES_MAX:
        errors.invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {_FAILED_INDEXES_MAX}")
    if (completions or 0) > _COMPLETIONS_SOFT_LIMIT and spec.get("backoffLimitPerIndex") is not None:
        if failed is None:
            words = f"must be specified when completions is above {_COMPLETIONS_SOFT_LIMIT}"
            errors.required(f"{path}.maxFailedIndexes", words)
        if (parallelism or 0) > _HIGH_PARALLELISM_MAX:
            words = f"must be less than or equal to {_HIGH_PARALLELISM_MAX} {_HIGH}"
            errors.invalid(f"{path}.parallelism", parallelism, words)
        if (failed or 0) > _HIGH_FAILED_INDEXES_MAX:
            words = f"must be less than or equal to {_HIGH_FAILED_INDEXES_MAX} {_HIGH}"
            errors.invalid(f"{path}.maxFailedIndexes", failed, words)


def _restart_policy(errors: Errors, spec: Object, path: str) -> None:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in {"", "Always"}:
        errors.required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in {"OnFailure", "Never"}:
        errors.unsupported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        errors.invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of a Job, of which little but its parallelism may change."""
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    _full_spec(errors, spec)
    completions = spec.get("completions")
    if spec.get("completionMode") != _INDEXED:
        immutable(errors, "spec.completions", completions, before.get("completions"))
    elif completions not in (None, before.get("completions"), spec.get("parallelism")):
        errors.invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism")
    immutable(errors, "spec.selector", spec.get("selector"), before.get("selector"))
    template, was = spec.get("template") or {}, before.get("template") or {}
    if before.get("suspend") and not (old.get("status") or {}).get("startTime"):
        was = _with_scheduling_of(template, was)
    immutable(errors, "spec.template", template, was)
    for field in ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"):
        immutable(errors, f"spec.{field}", spec.get(field), before.get(field))


def _with_scheduling_of(template: Object, was: Object) -> Object:
    """Return the old template with what a suspended job that never ran may change taken from the new one."""
    pod, before = template.get("spec") or {}, was.get("spec") or {}
    changed = {name: pod.get(name) for name in ("nodeSelector", "tolerations", "schedulingGates")}
    affinity, had = pod.get("affinity"), before.get("affinity")
    if affinity != had:
        merged = {**(had or {}), "nodeAffinity": (affinity or {}).get("nodeAffinity")}
        changed["affinity"] = merged if any(merged.values()) or affinity is not None else None
    about = template.get("metadata") or {}
    metadata = {**(was.get("metadata") or {}), "labels": about.get("labels"), "annotations": about.get("annotations")}
    return {**was, "metadata": metadata, "spec": {**before, **changed}}


def status(errors: Errors, obj: Object, old: Object) -> None:
    """Check the status of a Job: counters and conditions that fit each other."""
    now = obj.get("status") or {}
    errors.not_negatives(now, "status", "active", "succeeded", "failed", "ready", "terminating")
    _uncounted(errors, now.get("uncountedTerminatedPods") or {})
    was = old.get("status") or {}
    true = {kind for kind in _CONDITIONS if _is_true(now, kind)}
    _exclusive(errors, true)
    finished = bool(true & {"Complete", "Failed"})
    completion, start = now.get("completionTime"), now.get("startTime")
    if completion and "Complete" not in true:
        words = "cannot set completionTime when there is no Complete=True condition"
        errors.invalid("status.completionTime", completion, words)
    if not completion and "Complete" in true:
        errors.required("status.completionTime", "completionTime is required for Complete jobs")
    if completion and start and completion < start:
        errors.invalid("status.completionTime", completion, "completionTime cannot be set before startTime")
    if finished:
        for field in ("active", "terminating"):
            if (now.get(field) or 0) > 0:
                errors.invalid(f"status.{field}", now[field], f"{field}>0 is invalid for finished job")
        if not start:
            errors.required("status.startTime", "startTime is required for finished job")
    for kind in _CONDITIONS:
        if _is_true(was, kind) and kind not in true:
            word = "" if kind == "SuccessCriteriaMet" else "terminal "
            errors.invalid("status.conditions", OMITTED, f"cannot disable the {word}{kind}=True condition")
    for field in ("failed", "succeeded"):
        if (now.get(field) or 0) < (was.get(field) or 0):
            errors.invalid(f"status.{field}", now.get(field) or 0, f"cannot decrease the {field} counter")


_CONDITIONS = ("Failed", "Complete", "FailureTarget", "SuccessCriteriaMet")
_EXCLUSIVE = (
    ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
    ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
    ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
    ("SuccessCriteriaMet", "FailureTarget", "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions"),
)
_IMPLIED = (
    ("Failed", "FailureTarget", "cannot set Failed=True condition without the FailureTarget=true condition"),
    (
        "Complete",
        "SuccessCriteriaMet",
        "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
    ),
)


def _is_true(values: Object, kind: str) -> bool:
    return any(one.get("type") == kind and one.get("status") == "True" for one in values.get("conditions") or ())


def _exclusive(errors: Errors, true: set[str]) -> None:
    for one, other, words in _EXCLUSIVE:
        if one in true and other in true:
            errors.invalid("status.conditions", OMITTED, words)
    for one, other, words in _IMPLIED:
        if one in true and other not in true:
            errors.invalid("status.conditions", OMITTED, words)


def _uncounted(errors: Errors, uncounted: Object) -> None:
    seen: set[Any] = set()
    for field in ("succeeded", "failed"):
        for index, uid in enumerate(uncounted.get(field) or ()):
            here = f"status.uncountedTerminatedPods.{field}[{index}]"
            if not uid:
                errors.invalid(here, uid, "must not be empty")
            elif uid in seen:
                errors.duplicate(here, uid)
            seen.add(uid)
