"""What the metrics of an autoscaler say together: each proposes a number of replicas, the highest counts.

Upstream counterpart: computeReplicasForMetrics in pkg/controller/podautoscaler/horizontal.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec
from lightkube.models import autoscaling_v2, core_v1, meta_v1

from knarr.api import errors, labels, quantity
from knarr.controllers import hpa_calculator as calculator
from knarr.controllers.hpa_calculator import NoReplicas, Proposal, Tolerances
from knarr.controllers.hpa_metrics import Metrics
from knarr.controllers.scaling import Scale, Scaler


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled.

    Attributes:
        namespace: Of autoscaler and target.
        scale: The target's.
        pods: The target's.
        tolerances: When to leave things alone.
        now: The wall time.
    """

    namespace: str
    scale: Scale
    pods: Sequence[core_v1.Pod]
    tolerances: Tolerances
    now: datetime


@dataclass(slots=True)
class Evaluation:
    """What all metrics say.

    Attributes:
        replicas: The highest proposal; None if there is none that may be followed.
        name: The metric that made it.
        statuses: Of the metrics that gave something.
        failures: Reason and message of those that did not.
    """

    replicas: int | None = None
    name: str = ""
    statuses: list[autoscaling_v2.MetricStatus] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)


class Evaluator:
    """Evaluates metrics.

    Args:
        metrics: Read here.
        scaler: Knows the plurals of described objects.
    """

    def __init__(self, metrics: Metrics, scaler: Scaler) -> None:
        self._metrics = metrics
        self._scaler = scaler

    async def evaluate(self, specs: Sequence[autoscaling_v2.MetricSpec], target: Target) -> Evaluation:
        """Return what the metrics say; a metric that fails keeps the others from scaling down."""
        result = Evaluation()
        for spec in specs:
            try:
                proposal, name, status = await self._evaluate(spec, target)
            except NoReplicas as err:
                result.failures.append((f"FailedGet{spec.type}Metric", str(err)))
                continue
            result.statuses.append(status)
            if result.replicas is None or proposal.replicas > result.replicas:
                result.replicas, result.name = proposal.replicas, name
        if result.failures and result.replicas is not None and result.replicas < target.scale.replicas:
            result.replicas = None
        return result

    async def _evaluate(
        self, spec: autoscaling_v2.MetricSpec, target: Target
    ) -> tuple[Proposal, str, autoscaling_v2.MetricStatus]:
        match spec.type:
            case "Resource" if spec.resource is not None:
                return await self._resource(spec.resource.name, "", spec.resource.target, target)
            case "ContainerResource" if spec.containerResource is not None:
                one = spec.containerResource
                return await self._resource(one.name, one.container, one.target, target)
            case "Pods" if spec.pods is not None:
                return await self._pods(spec.pods, target)
            case "Object" if spec.object is not None:
                return await self._object(spec.object, target)
            case "External" if spec.external is not None:
                return await self._external(spec.external, target)
        raise NoReplicas(f'unknown metric source type "{spec.type}"')

    async def _resource(
        self, name: str, container: str, wanted: autoscaling_v2.MetricTarget, target: Target
    ) -> tuple[Proposal, str, autoscaling_v2.MetricStatus]:
        kind = f"{name} container resource" if container else f"{name} resource"
        percent = wanted.averageUtilization
        try:
            readings = await self._read_resource(name, container, target)
            current, average = target.scale.replicas, wanted.averageValue
            if percent is not None:
                found = calculator.by_utilization(
                    current,
                    percent,
                    target.pods,
                    readings,
                    resource=name,
                    container=container,
                    tolerances=target.tolerances,
                    now=target.now,
                )
                kind += " utilization (percentage of request)"
            else:
                found = calculator.by_average(
                    current,
                    _milli(average),
                    target.pods,
                    readings,
                    resource=name,
                    tolerances=target.tolerances,
                    now=target.now,
                )
        except NoReplicas as err:
            measure = "utilization" if percent is not None else "usage"
            raise NoReplicas(f"failed to get {name} {measure}: {err}") from err
        value = autoscaling_v2.MetricValueStatus(
            averageUtilization=found.utilization, averageValue=_quantity(found.value)
        )
        if container:
            held = autoscaling_v2.ContainerResourceMetricStatus(container=container, name=name, current=value)
            return found, kind, autoscaling_v2.MetricStatus(type="ContainerResource", containerResource=held)
        status = autoscaling_v2.ResourceMetricStatus(name=name, current=value)
        return found, kind, autoscaling_v2.MetricStatus(type="Resource", resource=status)

    async def _read_resource(self, name: str, container: str, target: Target) -> dict[str, calculator.Reading]:
        try:
            return await self._metrics.resource(name, target.namespace, target.scale.selector, container)
        except NoReplicas as err:
            raise NoReplicas(f"unable to get metrics for resource {name}: {err}") from err

    async def _pods(
        self, source: autoscaling_v2.PodsMetricSource, target: Target
    ) -> tuple[Proposal, str, autoscaling_v2.MetricStatus]:
        name, selector = source.metric.name, format_selector(source.metric.selector)
        try:
            readings = await self._metrics.pods(name, target.namespace, target.scale.selector, selector)
        except NoReplicas as err:
            raise NoReplicas(f"failed to get pods metric value: unable to get metric {name}: {err}") from err
        average = _milli(source.target.averageValue)
        found = calculator.by_average(
            target.scale.replicas, average, target.pods, readings, tolerances=target.tolerances, now=target.now
        )
        value = autoscaling_v2.MetricValueStatus(averageValue=_quantity(found.value))
        status = autoscaling_v2.PodsMetricStatus(current=value, metric=source.metric)
        return found, f"pods metric {name}", autoscaling_v2.MetricStatus(type="Pods", pods=status)

    async def _object(
        self, source: autoscaling_v2.ObjectMetricSource, target: Target
    ) -> tuple[Proposal, str, autoscaling_v2.MetricStatus]:
        about, name = source.describedObject, source.metric.name
        group = (about.apiVersion or "v1").rpartition("/")[0]
        try:
            plural = await self._scaler.resource(about.apiVersion or "v1", about.kind)
            qualified = f"{plural}.{group}" if group else plural
            selector = format_selector(source.metric.selector)
            value = await self._metrics.object(name, target.namespace, qualified, about.name, selector)
        except (NoReplicas, errors.StatusError) as err:
            place = f"{about.kind} on {target.namespace} {about.name}"
            raise NoReplicas(f"failed to get object metric value: unable to get metric {name}: {place}/{err}") from err
        found, current = _share_or_value(source.target, value, target)
        status = autoscaling_v2.ObjectMetricStatus(current=current, describedObject=about, metric=source.metric)
        return found, f"{about.kind} metric {name}", autoscaling_v2.MetricStatus(type="Object", object=status)

    async def _external(
        self, source: autoscaling_v2.ExternalMetricSource, target: Target
    ) -> tuple[Proposal, str, autoscaling_v2.MetricStatus]:
        name, selector = source.metric.name, format_selector(source.metric.selector)
        try:
            value = sum(await self._metrics.external(name, target.namespace, selector))
        except NoReplicas as err:
            text = f"unable to get external metric {target.namespace}/{name}/{selector or 'nil'}: {err}"
            raise NoReplicas(f"failed to get {name} external metric: {text}") from err
        found, current = _share_or_value(source.target, value, target)
        status = autoscaling_v2.ExternalMetricStatus(current=current, metric=source.metric)
        label = f"external metric {name}({selector or 'nil'})"
        return found, label, autoscaling_v2.MetricStatus(type="External", external=status)


def _share_or_value(
    wanted: autoscaling_v2.MetricTarget, value: int, target: Target
) -> tuple[Proposal, autoscaling_v2.MetricValueStatus]:
    if wanted.averageValue is not None:
        found = calculator.by_share(
            target.scale.ready, _milli(wanted.averageValue), value, tolerances=target.tolerances
        )
        return found, autoscaling_v2.MetricValueStatus(averageValue=_quantity(found.value))
    found = calculator.by_value(
        target.scale.replicas, _milli(wanted.value), value, target.pods, tolerances=target.tolerances
    )
    return found, autoscaling_v2.MetricValueStatus(value=_quantity(found.value))


def format_selector(selector: meta_v1.LabelSelector | None) -> str:
    """Write a label selector as query parameters have it; empty for none."""
    if selector is None:
        return ""
    plain: dict[str, Any] = msgspec.to_builtins(selector)
    return str(labels.from_object({key: value for key, value in plain.items() if value is not None}))


def _milli(value: object) -> int:
    return quantity.parse(str(value)).milli_value


def _quantity(milli: int) -> str:
    return quantity.canonical(f"{milli}m")
