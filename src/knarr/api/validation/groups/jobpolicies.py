"""When a job succeeds, fails or replaces a pod: podFailurePolicy, successPolicy, podReplacementPolicy.

Source: k8s.io/kubernetes/pkg/apis/batch/validation/validation.go (v1.37).
"""

import json
import re

from knarr.api import names
from knarr.api.field import OMITTED
from knarr.api.validation.collector import Errors, Object

_RULES_MAX = 20
_PATTERNS_MAX = 20
_EXIT_CODES_MAX = 255
_INDEXES_MAX_BYTES = 64 * 1024
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_STATUSES = ("False", "True", "Unknown")
_INDEXES = re.compile(r"\d+(-\d+)?", re.ASCII)


def check(errors: Errors, spec: Object, path: str) -> None:
    """Check the policies of a job's spec."""
    failure, success = spec.get("podFailurePolicy"), spec.get("successPolicy")
    if failure is not None:
        _failure_policy(errors, spec, failure, f"{path}.podFailurePolicy.rules")
    if success is not None:
        if spec.get("completionMode") != "Indexed":
            errors.invalid(f"{path}.successPolicy", success, "requires indexed completion mode")
        else:
            _success_policy(errors, spec, success, f"{path}.successPolicy.rules")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        supported = ("Failed",) if failure is not None else ("Failed", "TerminatingOrFailed")
        if replacement not in supported:
            errors.unsupported(f"{path}.podReplacementPolicy", replacement, supported)


def _one_of(errors: Errors, path: str, value: str, supported: tuple[str, ...]) -> None:
    if not value:
        listed = " ".join(json.dumps(one) for one in supported)
        errors.required(path, f"valid values: [{listed}]")
    elif value not in supported:
        errors.unsupported(path, value, supported)


def _failure_policy(errors: Errors, spec: Object, policy: Object, path: str) -> None:
    rules = policy.get("rules") or ()
    if len(rules) > _RULES_MAX:
        errors.too_many(path, len(rules), _RULES_MAX)
    pod = (spec.get("template") or {}).get("spec") or {}
    known = {one.get("name") for kind in ("containers", "initContainers") for one in pod.get(kind) or ()}
    for index, rule in enumerate(rules):
        here, action = f"{path}[{index}]", rule.get("action") or ""
        if action == "FailIndex":
            if spec.get("backoffLimitPerIndex") is None:
                errors.invalid(f"{here}.action", action, "requires the backoffLimitPerIndex to be set")
        else:
            _one_of(errors, f"{here}.action", action, _ACTIONS)
        codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
        if codes is not None:
            _exit_codes(errors, codes, known, f"{here}.onExitCodes")
        _conditions(errors, conditions, f"{here}.onPodConditions")
        if codes is not None and conditions:
            errors.invalid(here, OMITTED, "specifying both OnExitCodes and OnPodConditions is not supported")
        if codes is None and not conditions:
            errors.invalid(here, OMITTED, "specifying one of OnExitCodes and OnPodConditions is required")


def _conditions(errors: Errors, conditions: list[Object], path: str) -> None:
    if len(conditions) > _PATTERNS_MAX:
        errors.too_many(path, len(conditions), _PATTERNS_MAX)
    for index, pattern in enumerate(conditions):
        kind = pattern.get("type") or ""
        errors.all_invalid(f"{path}[{index}].type", kind, names.qualified_name(kind))
        _one_of(errors, f"{path}[{index}].status", pattern.get("status") or "", _STATUSES)


def _exit_codes(errors: Errors, codes: Object, known: set[str | None], path: str) -> None:
    operator, container = codes.get("operator") or "", codes.get("containerName")
    _one_of(errors, f"{path}.operator", operator, _OPERATORS)
    if container is not None and container not in known:
        words = "must be one of the container or initContainer names in the pod template"
        errors.invalid(f"{path}.containerName", container, words)
    values = codes.get("values") or []
    if not values:
        errors.invalid(f"{path}.values", codes.get("values"), "at least one value is required")
    elif len(values) > _EXIT_CODES_MAX:
        errors.too_many(f"{path}.values", len(values), _EXIT_CODES_MAX)
    seen = set()
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            errors.invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        if value in seen:
            errors.duplicate(f"{path}.values[{index}]", value)
        seen.add(value)
    if values != sorted(values):
        errors.invalid(f"{path}.values", values, "must be ordered")


def _success_policy(errors: Errors, spec: Object, policy: Object, path: str) -> None:
    rules, completions = policy.get("rules") or (), spec.get("completions") or 0
    if not rules:
        errors.required(path, "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > _RULES_MAX:
        errors.too_many(path, len(rules), _RULES_MAX)
    for index, rule in enumerate(rules):
        here, count, indexes = f"{path}[{index}]", rule.get("succeededCount"), rule.get("succeededIndexes")
        if count is None and indexes is None:
            errors.required(here, "at least one of succeededCount or succeededIndexes must be specified")
        total = 0
        if indexes is not None:
            if len(indexes) > _INDEXES_MAX_BYTES:
                errors.too_long(f"{here}.succeededIndexes", _INDEXES_MAX_BYTES)
            total, complaint = count_indexes(indexes, completions)
            if complaint:
                words = f"error parsing succeededIndexes: {complaint}"
                errors.invalid(f"{here}.succeededIndexes", indexes, words)
        if count is not None:
            errors.not_negative(f"{here}.succeededCount", count)
            words = "must be less than or equal to"
            if count > completions:
                words = f"{words} {completions} (the number of specified completions)"
                errors.invalid(f"{here}.succeededCount", count, words)
            elif indexes is not None and count > total:
                words = f"{words} {total} (the number of indexes in the specified succeededIndexes field)"
                errors.invalid(f"{here}.succeededCount", count, words)


def count_indexes(text: str, completions: int) -> tuple[int, str]:
    """Count the indexes of a list such as "0,2-4".

    Returns:
        How many there are, and what is wrong with the list: "" if nothing.
    """
    total, last = 0, -1
    for part in text.split(",") if text else ():
        if not _INDEXES.fullmatch(part):
            return 0, f"cannot convert string to integer for index: {json.dumps(part)}"
        first, dash, second = part.partition("-")
        low, high = int(first), int(second) if dash else int(first)
        for one in (first, second) if dash else (first,):
            if int(one) >= completions:
                return 0, f"too large index: {json.dumps(one)}"
        if dash and low >= high:
            return 0, f"non-increasing order, previous: {low}, current: {high}"
        if low <= last:
            return 0, f"non-increasing order, previous: {last}, current: {low}"
        total, last = total + high - low + 1, high
    return total, ""
