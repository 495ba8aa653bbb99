"""Rows of autoscalers: what is measured, against which target.

Source: printHorizontalPodAutoscaler and formatHPAMetrics in pkg/printers/internalversion/printers.go (v1.37).
"""

from datetime import datetime

from knarr.api import conversion
from knarr.api.scheme import BUILT_IN
from knarr.apiserver.tables import cells
from knarr.apiserver.tables.columns import Cells, Object, Printer, columns

_MOST_METRICS = 2


def _metric(spec: Object, status: Object) -> str:
    kind = cells.text(spec, "type")
    field = kind[:1].lower() + kind[1:]
    target, source = cells.part(spec, field, "target"), cells.part(spec, field)
    current = cells.part(status, field, "current")
    if kind in ("Resource", "ContainerResource"):
        return f"{source.get('name')}: {_resource(target, current)}"
    if kind == "Pods":
        return f"{cells.text(current, 'averageValue', absent=cells.UNKNOWN)}/{cells.text(target, 'averageValue')}"
    if kind in ("External", "Object"):
        if target.get("averageValue") is not None:
            average = cells.text(current, "averageValue", absent=cells.UNKNOWN)
            return f"{average}/{target['averageValue']} (avg)"
        return f"{cells.text(current, 'value', absent=cells.UNKNOWN)}/{cells.text(target, 'value')}"
    return "<unknown type>"


def _resource(target: Object, current: Object) -> str:
    if target.get("averageValue") is not None:
        return f"{cells.text(current, 'averageValue', absent=cells.UNKNOWN)}/{target['averageValue']}"
    used, wanted = current.get("averageUtilization"), target.get("averageUtilization")
    shown = cells.UNKNOWN if used is None else f"{used}%"
    return f"{shown}/{'<auto>' if wanted is None else f'{wanted}%'}"


def _metrics(obj: Object) -> str:
    specs, statuses = cells.items(obj, "spec", "metrics"), cells.items(obj, "status", "currentMetrics")
    if not specs:
        return cells.NONE
    found = [_metric(spec, statuses[index] if index < len(statuses) else {}) for index, spec in enumerate(specs)]
    return cells.first_few(found, _MOST_METRICS, len(found), ", ")


def _cells(obj: Object, now: datetime) -> Cells:
    if obj.get("apiVersion") == "autoscaling/v1":
        target = BUILT_IN.find_kind("autoscaling/v2", "HorizontalPodAutoscaler")
        assert target is not None
        obj = conversion.convert(dict(obj), target)
    reference, least = cells.part(obj, "spec", "scaleTargetRef"), cells.part(obj, "spec").get("minReplicas")
    return [
        cells.name(obj),
        f"{reference.get('kind')}/{reference.get('name')}",
        _metrics(obj),
        cells.UNSET if least is None else str(least),
        cells.number(obj, "spec", "maxReplicas"),
        cells.number(obj, "status", "currentReplicas"),
        cells.age(obj, now),
    ]


HORIZONTAL_POD_AUTOSCALER = Printer(columns("Name Reference Targets MinPods MaxPods Replicas Age"), _cells)
