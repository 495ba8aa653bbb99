"""Events, which are stored in the core form: leniently checked through the core API, strictly through events.k8s.io.

Source: k8s.io/kubernetes/pkg/apis/core/validation/events.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable

_SHORT_MAX = 128
_NOTE_MAX = 1024
_STAYS = (
    ("involvedObject", "involvedObject"),
    ("reason", "reason"),
    ("message", "message"),
    ("source", "source"),
    ("firstTimestamp", "firstTimestamp"),
    ("lastTimestamp", "lastTimestamp"),
    ("count", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def lenient(errors: Errors, obj: Object) -> None:
    """Check an event that was written through the core API."""
    involved, controller = obj.get("involvedObject") or {}, obj.get("reportingComponent") or ""
    namespace = (obj.get("metadata") or {}).get("namespace") or ""
    subject = involved.get("namespace") or ""
    path, words = "involvedObject.namespace", "does not match event.namespace"
    if not obj.get("eventTime"):
        if (subject and namespace != subject) or (not subject and namespace not in {"", "default"}):
            errors.invalid(path, subject, words)
        return
    if not subject and namespace not in {"default", "kube-system"}:
        errors.invalid(path, subject, words)
    if not controller:
        errors.required("reportingController")
    errors.all_invalid("reportingController", controller, names.qualified_name(controller))
    for field in ("reportingInstance", "action", "reason"):
        value = obj.get(field) or ""
        if not value:
            errors.required(field)
        if len(value.encode()) > _SHORT_MAX:
            errors.invalid(field, "", f"can have at most {_SHORT_MAX} characters")
    if len((obj.get("message") or "").encode()) > _NOTE_MAX:
        errors.invalid("message", "", f"can have at most {_NOTE_MAX} characters")


def create(errors: Errors, obj: Object) -> None:
    """Check a new event that was written through events.k8s.io, in its core form."""
    lenient(errors, obj)
    _series(errors, obj)
    if not obj.get("eventTime"):
        errors.required("eventTime")
    if obj.get("type") not in {"Normal", "Warning"}:
        errors.invalid("type", "", f"has invalid value: {obj.get('type') or ''}")
    for field in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if obj.get(field):
            errors.invalid(field, "", "needs to be unset")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change through events.k8s.io, in the core form: only the series may go on."""
    lenient(errors, obj)
    if obj.get("series") != old.get("series"):
        _series(errors, obj)
    for field, shown in _STAYS:
        immutable(errors, shown, obj.get(field), old.get(field))


def _series(errors: Errors, obj: Object) -> None:
    series = obj.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        errors.invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        errors.required("series.lastObservedTime")
