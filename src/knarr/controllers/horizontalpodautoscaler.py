"""HorizontalPodAutoscalers: workloads get as many replicas as their metrics ask for, not faster than allowed.

Every 15 seconds the target's scale and the metrics are read; what they propose is bounded by `hpa_behavior` and written to the scale.

Upstream counterpart: pkg/controller/podautoscaler/horizontal.go (v1.37).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lightkube.models import autoscaling_v2, core_v1
from msgspec.structs import replace

from knarr.api import errors, labels, quantity
from knarr.control import Context, informer, loop
from knarr.controllers import hpa_behavior as behavior
from knarr.controllers import statuses
from knarr.controllers.hpa_calculator import TOLERANCE, Tolerances
from knarr.controllers.hpa_evaluation import Evaluation, Evaluator, Target
from knarr.controllers.hpa_metrics import Metrics
from knarr.controllers.scaling import Scale, Scaler

PERIOD_S = 15.0

ABLE, ACTIVE, LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"

Hpa = autoscaling_v2.HorizontalPodAutoscaler


@dataclass(slots=True)
class Step:
    """What one look at an autoscaler gives.

    Attributes:
        current: Replicas that are there.
        desired: Replicas that there should be.
        reason: Why they differ.
        metrics: Current values.
        conditions: As they are to be.
        events: Type, reason, message.
    """

    current: int
    desired: int
    reason: str = ""
    metrics: list[autoscaling_v2.MetricStatus] | None = None
    conditions: list[autoscaling_v2.HorizontalPodAutoscalerCondition] = field(default_factory=list)
    events: list[tuple[str, str, str]] = field(default_factory=list)


def bounded(spec: autoscaling_v2.HorizontalPodAutoscalerSpec, current: int) -> tuple[int, str] | None:
    """Return what the bounds alone ask for, and why; None if the metrics are to be asked."""
    least = 1 if spec.minReplicas is None else spec.minReplicas
    if current > spec.maxReplicas:
        return spec.maxReplicas, "Current number of replicas above Spec.MaxReplicas"
    if current < least:
        return least, "Current number of replicas below Spec.MinReplicas"
    return None


def follow(hpa: Hpa, found: Evaluation, past: behavior.Past, step: Step, now: datetime) -> None:
    """Take what the metrics say into a step, as far as it may be followed.

    Args:
        hpa: The autoscaler.
        found: What the metrics say.
        past: What is remembered; changed.
        step: Changed.
        now: The wall time.
    """
    assert hpa.spec
    step.metrics = found.statuses or None
    for reason, message in found.failures:
        step.events.append(("Warning", reason, message))
    if found.replicas is None:
        reason, message = found.failures[0]
        text = f"the HPA was unable to compute the replica count: {message}"
        step.conditions = set_condition(step.conditions, ACTIVE, "False", reason, text, now)
        total = len(hpa.spec.metrics or ())
        told = f"invalid metrics ({len(found.failures)} invalid out of {total}), first error is: {message}"
        step.events.append(("Warning", "FailedComputeMetricsReplicas", told))
        return
    text = f"the HPA was able to successfully calculate a replica count from {found.name}"
    step.conditions = set_condition(step.conditions, ACTIVE, "True", "ValidMetricFound", text, now)
    if found.replicas > step.current:
        step.reason = f"{found.name} above target"
    elif found.replicas < step.current:
        step.reason = "All metrics below target"
    limited = behavior.limit(hpa.spec, past, step.current, found.replicas, now)
    step.desired = limited.replicas
    step.conditions = set_condition(step.conditions, ABLE, "True", *limited.able, now)
    is_limited = "True" if limited.is_limited else "False"
    step.conditions = set_condition(step.conditions, LIMITED, is_limited, *limited.limit, now)


def set_condition(
    conditions: Sequence[autoscaling_v2.HorizontalPodAutoscalerCondition],
    kind: str,
    status: str,
    reason: str,
    message: str,
    now: datetime,
) -> list[autoscaling_v2.HorizontalPodAutoscalerCondition]:
    """Return the conditions with one as said, in its place; its time changes with its status."""
    standing = next((one for one in conditions if one.type == kind), None)
    since = standing.lastTransitionTime if standing is not None and standing.status == status else now
    fresh = autoscaling_v2.HorizontalPodAutoscalerCondition(
        type=kind, status=status, reason=reason, message=message, lastTransitionTime=since
    )
    if standing is None:
        return [*conditions, fresh]
    return [fresh if one is standing else one for one in conditions]


class Reconciler:
    """Takes the steps of autoscalers.

    Args:
        context: Client, informers, clock and recorder.
    """

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._clock = context.clock
        self._recorder = context.recorder
        self._hpas = context.informers.of(Hpa)
        self._pods = context.informers.of(core_v1.Pod)
        self._scaler = Scaler(context.client, context.clock)
        self._evaluator = Evaluator(Metrics(context.client), self._scaler)
        self._past: dict[str, behavior.Past] = {}

    async def reconcile(self, request: loop.Request) -> loop.Result:
        """Read, decide, scale, and tell."""
        hpa = self._hpas.get(request.namespace, request.name)
        if hpa is None or hpa.metadata is None or hpa.spec is None:
            return loop.Result()
        now = self._clock.now().replace(microsecond=0)
        before = hpa.status or autoscaling_v2.HorizontalPodAutoscalerStatus(desiredReplicas=0)
        step = Step(before.currentReplicas or 0, before.desiredReplicas, metrics=before.currentMetrics)
        step.conditions = list(before.conditions or ())
        scale = await self._read_scale(hpa, step, now)
        scaled = scale is not None and await self._decide(hpa, scale, step, now)
        for type_, reason, message in step.events:
            self._recorder.event(hpa, type_, reason, message)
        status = autoscaling_v2.HorizontalPodAutoscalerStatus(
            currentReplicas=step.current,
            desiredReplicas=step.desired,
            lastScaleTime=now if scaled else before.lastScaleTime,
            currentMetrics=step.metrics,
            conditions=step.conditions or None,
            observedGeneration=hpa.metadata.generation,
        )
        if not statuses.is_same(status, before):
            await self._client.update(replace(hpa, status=status), subresource="status")
        return loop.Result(requeue_after_s=PERIOD_S)

    def forget(self, uid: str) -> None:
        """Forget an autoscaler that is gone."""
        self._past.pop(uid, None)

    async def _read_scale(self, hpa: Hpa, step: Step, now: datetime) -> Scale | None:
        assert hpa.spec and hpa.metadata
        target, namespace = hpa.spec.scaleTargetRef, hpa.metadata.namespace or ""
        try:
            scale = await self._scaler.read(target.apiVersion or "v1", target.kind, namespace, target.name)
        except errors.StatusError as err:
            step.events.append(("Warning", "FailedGetScale", str(err)))
            text = f"the HPA controller was unable to get the target's current scale: {err}"
            step.conditions = set_condition(step.conditions, ABLE, "False", "FailedGetScale", text, now)
            return None
        text = "the HPA controller was able to get the target's current scale"
        step.conditions = set_condition(step.conditions, ABLE, "True", "SucceededGetScale", text, now)
        return scale

    async def _decide(self, hpa: Hpa, scale: Scale, step: Step, now: datetime) -> bool:
        """Decide and scale; tell whether it was."""
        assert hpa.spec and hpa.metadata
        past = self._past.setdefault(hpa.metadata.uid or "", behavior.Past())
        if not past.recommendations:
            past.recommend(now, scale.replicas)
        step.current = step.desired = scale.replicas
        limits = bounded(hpa.spec, scale.replicas)
        if scale.replicas == 0 and hpa.spec.minReplicas != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            step.conditions = set_condition(step.conditions, ACTIVE, "False", "ScalingDisabled", text, now)
        elif limits is not None:
            step.desired, step.reason = limits
        else:
            target = self._target(hpa, scale, step, now)
            if target is not None:
                follow(hpa, await self._evaluator.evaluate(hpa.spec.metrics or (), target), past, step, now)
        if step.desired == scale.replicas:
            return False
        return await self._scale(hpa, scale, step, past, now)

    async def _scale(self, hpa: Hpa, scale: Scale, step: Step, past: behavior.Past, now: datetime) -> bool:
        assert hpa.spec
        size = f"New size: {step.desired}; reason: {step.reason}"
        try:
            await self._scaler.write(scale, step.desired)
        except errors.StatusError as err:
            step.events.append(("Warning", "FailedRescale", f"{size}; error: {err}"))
            text = f"the HPA controller was unable to update the target scale: {err}"
            step.conditions = set_condition(step.conditions, ABLE, "False", "FailedUpdateScale", text, now)
            step.desired = scale.replicas
            return False
        text = f"the HPA controller was able to update the target scale to {step.desired}"
        step.conditions = set_condition(step.conditions, ABLE, "True", "SucceededRescale", text, now)
        step.events.append(("Normal", "SuccessfulRescale", size))
        if hpa.spec.behavior is not None:
            past.scaled(now, step.desired - scale.replicas)
        return True

    def _target(self, hpa: Hpa, scale: Scale, step: Step, now: datetime) -> Target | None:
        """Return what is scaled, or None, having told why, if its pods cannot be known."""
        assert hpa.spec and hpa.metadata
        namespace = hpa.metadata.namespace or ""
        text = ""
        if not scale.selector:
            text = "the HPA target's scale is missing a selector"
            step.events.append(("Warning", "SelectorRequired", "selector is required"))
        else:
            try:
                selector = labels.parse(scale.selector)
            except labels.SelectorError as err:
                text = f"couldn't convert selector into a corresponding internal selector object: {err}"
                step.events.append(("Warning", "InvalidSelector", text))
        if text:
            step.conditions = set_condition(step.conditions, ACTIVE, "False", "InvalidSelector", text, now)
            return None
        pods = self._pods.list(namespace, selector.matches)
        return Target(namespace, scale, pods, _tolerances(hpa.spec.behavior), now)


def build(context: Context) -> loop.Controller:
    """Assemble the controller."""
    reconciler = Reconciler(context)
    controller = loop.Controller("horizontalpodautoscaler", reconciler, context)

    def requests(old: Hpa | None, new: Hpa | None) -> Sequence[loop.Request]:
        if new is None:
            reconciler.forget((old.metadata.uid or "") if old is not None and old.metadata else "")
            return ()
        if old is not None and old.spec == new.spec:
            return ()  # its own status: the next look has its time
        return [loop.Request(*informer.key_of(new))]

    controller.watch_changes(Hpa, requests)
    return controller


def _tolerances(rules: autoscaling_v2.HorizontalPodAutoscalerBehavior | None) -> Tolerances:
    def of(one: autoscaling_v2.HPAScalingRules | None) -> float:
        if one is None or one.tolerance is None:
            return TOLERANCE
        return quantity.parse(str(one.tolerance)).nanos / 1e9

    return Tolerances(of(rules.scaleDown), of(rules.scaleUp)) if rules is not None else Tolerances()
