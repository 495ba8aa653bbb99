"""Label selectors: their shape, and whether they match a template's labels.

Source: ValidateLabelSelector in k8s.io/apimachinery/pkg/apis/meta/v1/validation and LabelSelectorAsSelector (v1.37).
"""

from knarr.api import names
from knarr.api.validation.collector import Errors, Object
from knarr.api.validation.meta import labels

_WITH_VALUES = {"In", "NotIn"}
_WITHOUT_VALUES = {"Exists", "DoesNotExist"}


def check(errors: Errors, selector: Object | None, path: str) -> None:
    """Check a LabelSelector; None is fine."""
    if not selector:
        return
    labels(errors, selector.get("matchLabels"), f"{path}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        here = f"{path}.matchExpressions[{index}]"
        operator, values = expression.get("operator") or "", expression.get("values") or ()
        if operator in _WITH_VALUES:
            if not values:
                errors.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in _WITHOUT_VALUES:
            if values:
                errors.forbidden(f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            errors.invalid(f"{here}.operator", operator, "not a valid selector operator")
        key = expression.get("key") or ""
        errors.all_invalid(f"{here}.key", key, names.qualified_name(key))
        for position, value in enumerate(values):
            errors.all_invalid(f"{here}.values[{position}]", value, names.label_value(value))


def is_empty(selector: Object | None) -> bool:
    """Return whether a selector demands nothing."""
    return not selector or not (selector.get("matchLabels") or selector.get("matchExpressions"))


def matches(selector: Object | None, values: dict[str, str] | None) -> bool:
    """Return whether a valid selector matches labels; None matches nothing, an empty one everything."""
    if selector is None:
        return False
    values = values or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        if values.get(key) != value:
            return False
    for expression in selector.get("matchExpressions") or ():
        key, listed = expression.get("key"), expression.get("values") or ()
        good = {
            "In": key in values and values.get(key) in listed,
            "NotIn": key not in values or values[key] not in listed,
            "Exists": key in values,
            "DoesNotExist": key not in values,
        }
        if not good.get(expression.get("operator") or "", False):
            return False
    return True


def is_valid(selector: Object | None) -> bool:
    """Return whether a selector can be evaluated at all."""
    errors = Errors()
    check(errors, selector, "")
    return not errors.found
