"""Pods leave nodes with NoExecute taints that they do not tolerate, at once or when their toleration has run out.

Upstream counterpart: pkg/controller/tainteviction.
"""

from collections.abc import Sequence
from datetime import datetime

from lightkube.models import core_v1


def eviction_delay_s(pod: core_v1.Pod, taints: Sequence[core_v1.Taint], now: datetime) -> float | None:
    """Return in how many seconds a pod has to go: 0 for now, None for never.

    Args:
        pod: On the node.
        taints: The node's, of any effect.
        now: The wall time; each taint's time counts from its timeAdded.
    """
    assert pod.spec
    delays: list[float] = []
    for taint in taints:
        if taint.effect != "NoExecute":
            continue
        matching = [one for one in pod.spec.tolerations or () if tolerates(one, taint)]
        if not matching:
            return 0.0
        limits = [one.tolerationSeconds for one in matching if one.tolerationSeconds is not None]
        if limits:
            passed = (now - taint.timeAdded).total_seconds() if taint.timeAdded else 0.0
            delays.append(max(0.0, min(limits) - passed))
    return min(delays, default=None)


def tolerates(toleration: core_v1.Toleration, taint: core_v1.Taint) -> bool:
    """Tell whether a toleration covers a taint.

    Source: k8s.io/component-helpers/scheduling/corev1 ToleratesTaint.
    """
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    operator = toleration.operator or "Equal"
    if operator == "Exists":
        return True
    return bool(toleration.key) and operator == "Equal" and (toleration.value or "") == (taint.value or "")
