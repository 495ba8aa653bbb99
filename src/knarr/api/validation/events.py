"""Events of both APIs: the core one, lenient as it always was, and that of events.k8s.io.

Source: k8s.io/kubernetes/pkg/apis/core/validation/events.go (v1.37).
"""

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.equality import immutable

_SHORT_MAX = 128
_NOTE_MAX = 1024
_IMMUTABLE = (
    ("regarding", "involvedObject"),
    ("reason", "reason"),
    ("note", "message"),
    ("deprecatedSource", "source"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedCount", "count"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def core(errors: Errors, obj: Object) -> None:
    """Check a core Event."""
    involved, controller = obj.get("involvedObject") or {}, obj.get("reportingComponent") or ""
    _any(errors, obj, involved, controller, obj.get("message") or "")


def _any(errors: Errors, obj: Object, involved: Object, controller: str, note: str) -> None:
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
    if len(note.encode()) > _NOTE_MAX:
        errors.invalid("message", "", f"can have at most {_NOTE_MAX} characters")


def create(errors: Errors, obj: Object) -> None:
    """Check a new Event of events.k8s.io."""
    controller, note = obj.get("reportingController") or "", obj.get("note") or ""
    _any(errors, obj, obj.get("regarding") or {}, controller, note)
    _series(errors, obj)
    if not obj.get("eventTime"):
        errors.required("eventTime")
    if obj.get("type") not in {"Normal", "Warning"}:
        errors.invalid("type", "", f"has invalid value: {obj.get('type') or ''}")
    for field, shown in (
        ("deprecatedFirstTimestamp", "firstTimestamp"),
        ("deprecatedLastTimestamp", "lastTimestamp"),
        ("deprecatedCount", "count"),
        ("deprecatedSource", "source"),
    ):
        if obj.get(field):
            errors.invalid(shown, "", "needs to be unset")


def update(errors: Errors, obj: Object, old: Object) -> None:
    """Check a change of an Event of events.k8s.io: only its series may go on."""
    controller, note = obj.get("reportingController") or "", obj.get("note") or ""
    _any(errors, obj, obj.get("regarding") or {}, controller, note)
    if obj.get("series") != old.get("series"):
        _series(errors, obj)
    for field, shown in _IMMUTABLE:
        immutable(errors, shown, obj.get(field), old.get(field))


def _series(errors: Errors, obj: Object) -> None:
    series = obj.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        errors.invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        errors.required("series.lastObservedTime")
