"""Which taints a pod tolerates: one rule for the scheduler and the controllers.

Source: k8s.io/component-helpers/scheduling/corev1 (v1.37), with the numeric operators of KEP-5471.
"""

from collections.abc import Sequence

from lightkube.models import core_v1


def is_tolerated(tolerations: Sequence[core_v1.Toleration] | None, taint: core_v1.Taint) -> bool:
    """Tell whether one of the tolerations covers a taint."""
    return any(tolerates(one, taint) for one in tolerations or ())


def tolerates(toleration: core_v1.Toleration, taint: core_v1.Taint) -> bool:
    """Tell whether a toleration covers a taint."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    match toleration.operator or "Equal":
        case "Exists":
            return True
        case "Equal":
            return bool(toleration.key) and (toleration.value or "") == (taint.value or "")
        case "Gt" | "Lt" as operator:
            return _compare(operator, taint.value or "", toleration.value or "")
    return False


def _compare(operator: str, have: str, than: str) -> bool:
    try:
        return int(have) > int(than) if operator == "Gt" else int(have) < int(than)
    except ValueError:
        return False
